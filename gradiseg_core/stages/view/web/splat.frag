#version 300 es
// One pixel of one Gaussian, premultiplied; drawn from the farthest to the nearest.
precision highp float;

in vec2 at;
flat in vec4 paint;
flat in vec2 marks;

layout(location = 0) out vec4 color;
layout(location = 1) out vec4 marked;  // share of the selected and of the pointed-at objects

void main() {
  float alpha = min(paint.a * exp(-0.5 * dot(at, at)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  color = vec4(paint.rgb * alpha, alpha);
  marked = vec4(marks * alpha, 0.0, alpha);
}
