#version 300 es
// Lays the picture over the backdrop and outlines what is selected or pointed at.
precision highp float;

uniform sampler2D picture, marking;
uniform vec3 backdrop, accent;
uniform float width;   // of the outline, px
uniform bool marked;
uniform vec2 size;     // of the screen, px

out vec4 color;

void main() {
  vec2 place = gl_FragCoord.xy / size;
  vec4 blended = texture(picture, place);
  vec3 shown = blended.rgb + (1.0 - blended.a) * backdrop;
  if (marked) {
    vec2 here = texture(marking, place).rg;
    vec2 most = here;
    for (int k = 0; k < 12; k++) {
      float angle = float(k) * 0.5235988;
      vec2 aside = vec2(cos(angle), sin(angle)) * width / size;
      most = max(most, texture(marking, place + aside).rg);
    }
    vec2 edge = smoothstep(0.46, 0.52, most) * (1.0 - smoothstep(0.48, 0.54, here));
    shown = mix(shown, mix(shown, vec3(1.0), 0.12), smoothstep(0.4, 0.6, here.g));
    shown = mix(shown, vec3(1.0), 0.9 * edge.g);
    shown = mix(shown, accent, edge.r);
  }
  color = vec4(shown, 1.0);
}
