#version 300 es
// One corner of one Gaussian's quad: 3DGS's projection, as gradiseg_core's rasterizers do it.
precision highp float;
precision highp int;
precision highp usampler2D;

layout(location = 0) in uint index;

uniform sampler2D places;      // x, y, z, object
uniform usampler2D looks;      // bytes: quaternion | scales, opacity | sh0, confidence | identity
uniform usampler2D harmonics;  // bytes: red, green, blue of basis 1, 2, ...
uniform sampler2D states;      // per object: move, hidden | colour, gain | palette, offset | marks

uniform vec4 viewX, viewY, viewZ;  // rows of cam_from_world
uniform vec4 lens;                 // fx, fy, cx, cy, px
uniform vec2 size;                 // of the picture, px
uniform vec3 eye;
uniform float near;
uniform vec2 scaleRange, sh0Range;
uniform float shStep;
uniform int mode;                  // 0 colour, 1 objects, 2 identity, 3 confidence, 4 depth
uniform vec2 depthRange;
uniform vec3 ramp[9];

out vec2 at;  // standard deviations from the centre, along the ellipse's axes
flat out vec4 paint;
flat out vec2 marks;

const float LOW_PASS = 0.3, EXTENT = 3.33, MARGIN = 0.15;
const vec3 GREY = vec3(0.299, 0.587, 0.114);
const vec3 LUMINANCE = vec3(0.2126, 0.7152, 0.0722);

vec4 bytes(uint word) {
  return vec4(word & 255u, (word >> 8) & 255u, (word >> 16) & 255u, word >> 24);
}

mat3 rotation(vec4 packed) {
  vec3 small = (packed.xyz / 127.5 - 1.0) * 0.70710678;
  float big = sqrt(max(1.0 - dot(small, small), 0.0));
  int k = int(packed.w);
  vec4 q = k == 0 ? vec4(big, small) : k == 1 ? vec4(small.x, big, small.yz)
         : k == 2 ? vec4(small.xy, big, small.z) : vec4(small, big);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(  // columns
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

vec3 shaded(int i, vec3 sh0, vec3 direction) {
  vec3 color = 0.5 + 0.28209479 * mix(vec3(sh0Range.x), vec3(sh0Range.y), sh0 / 255.0);
#if BASES > 0
  float x = direction.x, y = direction.y, z = direction.z;
  float basis[15];
  basis[0] = -0.48860251 * y; basis[1] = 0.48860251 * z; basis[2] = -0.48860251 * x;
#if BASES > 3
  basis[3] = 1.09254843 * x * y; basis[4] = -1.09254843 * y * z;
  basis[5] = 0.31539157 * (3.0 * z * z - 1.0);
  basis[6] = -1.09254843 * x * z; basis[7] = 0.54627422 * (x * x - y * y);
#endif
#if BASES > 8
  float five = 5.0 * z * z - 1.0;
  basis[8] = -0.59004359 * y * (3.0 * x * x - y * y); basis[9] = 2.89061144 * x * y * z;
  basis[10] = -0.45704580 * y * five; basis[11] = 0.37317633 * z * (5.0 * z * z - 3.0);
  basis[12] = -0.45704580 * x * five; basis[13] = 1.44530572 * z * (x * x - y * y);
  basis[14] = -0.59004359 * x * (x * x - 3.0 * y * y);
#endif
  float values[16 * TEXELS];
  for (int t = 0; t < TEXELS; t++) {
    int texel = i * TEXELS + t;
    uvec4 words = texelFetch(harmonics, ivec2(texel & 2047, texel >> 11), 0);
    for (int w = 0; w < 4; w++) {
      vec4 four = (bytes(words[w]) - 128.0) * shStep;
      for (int b = 0; b < 4; b++) values[16 * t + 4 * w + b] = four[b];
    }
  }
  for (int k = 0; k < BASES; k++)
    color += basis[k] * vec3(values[3 * k], values[3 * k + 1], values[3 * k + 2]);
#endif
  return color;
}

vec3 ramped(float share) {
  float place = clamp(share, 0.0, 1.0) * 8.0;
  int stop = min(int(place), 7);
  return mix(ramp[stop], ramp[stop + 1], place - float(stop));
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  // outside, until it is known to be seen
  int i = int(index);
  ivec2 texel = ivec2(i & 2047, i >> 11);
  vec4 place = texelFetch(places, texel, 0);
  int object = int(place.w);
  ivec2 row = ivec2(object & 1023, 4 * (object >> 10));
  vec4 move = texelFetch(states, row, 0);
  if (move.w > 0.0) return;
  vec3 mean = place.xyz + move.xyz;
  vec3 c = vec3(dot(viewX, vec4(mean, 1.0)), dot(viewY, vec4(mean, 1.0)), dot(viewZ, vec4(mean, 1.0)));
  if (c.z < near) return;
  uvec4 look = texelFetch(looks, texel, 0);
  vec4 second = bytes(look.y), third = bytes(look.z);
  float opacity = second.w / 255.0;
  if (opacity < 1.0 / 255.0) return;

  vec2 slope = c.xy / c.z;
  vec2 center = lens.xy * slope + lens.zw;
  vec2 beyond = MARGIN * size / lens.xy;
  slope = clamp(slope, -lens.zw / lens.xy - beyond, (size - lens.zw) / lens.xy + beyond);
  mat3 R = rotation(bytes(look.x));
  vec3 scale = exp(mix(vec3(scaleRange.x), vec3(scaleRange.y), second.xyz / 255.0));
  vec3 t0 = (viewX.xyz - slope.x * viewZ.xyz) * (lens.x / c.z);  // rows of J W
  vec3 t1 = (viewY.xyz - slope.y * viewZ.xyz) * (lens.y / c.z);
  vec3 v0 = (t0 * R) * scale, v1 = (t1 * R) * scale;
  float xx = dot(v0, v0), xy = dot(v0, v1), yy = dot(v1, v1);
  vec3 minors = cross(v0, v1);  // det(V V') without cancellation (Cauchy and Binet)
  float det = dot(minors, minors) + (xx + yy + LOW_PASS) * LOW_PASS;
  xx += LOW_PASS;
  yy += LOW_PASS;

  // The ellipse's axes: eigenvectors of the covariance, and their standard deviations.
  float half_ = 0.5 * (xx - yy), root = length(vec2(half_, xy));
  float first = 0.5 * (xx + yy) + root;
  vec2 axis = half_ >= 0.0 ? vec2(half_ + root, xy) : vec2(xy, root - half_);
  axis = root > 1e-9 ? normalize(axis) : vec2(1.0, 0.0);
  vec2 sigma = sqrt(vec2(first, max(det / first, 0.0)));
  float extent = min(EXTENT, sqrt(max(2.0 * log(255.0 * opacity), 0.0)));
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  at = corner * extent;
  vec2 pixel = center + at.x * sigma.x * axis + at.y * sigma.y * vec2(-axis.y, axis.x);
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0.0, 1.0);

  vec4 changed = texelFetch(states, row + ivec2(0, 1), 0);
  vec4 palette = texelFetch(states, row + ivec2(0, 2), 0);
  vec3 color = shaded(i, third.xyz, normalize(mean - eye));
  if (changed.w > 0.0)  // as gradiseg_core/editing/colours.py recolours
    color = changed.xyz * (changed.w * dot(color, LUMINANCE) + palette.w);
  color = max(color, 0.0);
  if (mode == 1) {
    vec3 grey = vec3(dot(min(color, 1.0), GREY));
    color = object == 0 ? 0.85 * grey : mix(grey, palette.xyz, 0.55);
  }
  if (mode == 2) color = bytes(look.w).xyz / 255.0;
  if (mode == 3) color = ramped(third.w / 255.0);
  if (mode == 4) color = ramped((1.0 / c.z - depthRange.y) / (depthRange.x - depthRange.y));
  paint = vec4(color, opacity);
  marks = texelFetch(states, row + ivec2(0, 3), 0).xy;
}
