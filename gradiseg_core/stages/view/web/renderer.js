// Draws Gaussians with WebGL 2: one instanced quad each, from the farthest to the nearest.

const WIDTH = 2048; // of data textures; every WebGL 2 device has it
const OBJECTS = 1024; // objects in a row of the table of states

export const MODES = ["colour", "objects", "identity", "confidence", "depth"];

// matplotlib's viridis and magma (from its dark tenth on, as in the pictures of stage `render`).
const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"];
const MAGMA = ["140e36", "3b0f70", "641a80", "8c2981", "b73779", "de4968", "f7705c", "fe9f6d", "fcfdbf"];

/** Return red, green and blue, 0..1, of "rrggbb" or "#rrggbb". */
export function rgb(hex) {
  const value = parseInt(hex.replace("#", ""), 16);
  return [value >> 16, (value >> 8) & 255, value & 255].map((part) => part / 255);
}

/** WebGL 2 is missing, or the device refused it. */
export class NoWebGl extends Error {}

export class Renderer {
  /**
   * @param canvas the element to draw on.
   * @param splats what format.js read.
   * @param text returns the source of a shader by its file's name.
   */
  constructor(canvas, splats, text) {
    const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: false };
    const gl = canvas.getContext("webgl2", options);
    if (!gl) throw new NoWebGl("This browser has no WebGL 2, or it is turned off.");
    Object.assign(this, { canvas, gl, splats, shown: 0 });
    // Sums of thin layers need more than 8 bits; without the extension they get 8.
    this.format = gl.getExtension("EXT_color_buffer_float")
      ? [gl.RGBA16F, gl.HALF_FLOAT] : [gl.RGBA8, gl.UNSIGNED_BYTE];
    const bases = splats.bases;
    this.texels = Math.ceil((3 * bases) / 16);
    const head = `#define BASES ${bases}\n#define TEXELS ${this.texels}\n`;
    const source = text("splat.vert").replace(/(#version.*\n)/, `$1${head}`);
    this.drawing = program(gl, source, text("splat.frag"));
    this.screen = program(gl, text("screen.vert"), text("screen.frag"));
    this.order = gl.createBuffer();
    this.vertices = gl.createVertexArray();
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ARRAY_BUFFER, 4 * splats.count, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    gl.bindVertexArray(null);
    this.upload();
    this.states = texture(gl, gl.NEAREST);
    this.picture = texture(gl, gl.LINEAR);
    this.marking = texture(gl, gl.LINEAR);
    this.target = gl.createFramebuffer();
    this.size = [0, 0];
  }

  /** Put the Gaussians into textures, in blocks of rows so that memory holds them once. */
  upload() {
    const { gl, splats, texels } = this;
    const { positions, objects, smaller, largest, scale, opacity, sh0, sh, confidence, identity } = splats;
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    const rows = Math.ceil((splats.count * Math.max(texels, 1)) / WIDTH);
    if (rows > most) throw new NoWebGl(`This device draws textures of up to ${most} rows; the scene needs ${rows}.`);
    this.places = table(gl, splats.count, gl.RGBA32F, gl.RGBA, gl.FLOAT, Float32Array, (out, at, i) => {
      out.set(positions.subarray(3 * i, 3 * i + 3), at);
      out[at + 3] = objects[i];
    });
    const word = (a, b, c, d) => (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
    const whole = [gl.RGBA32UI, gl.RGBA_INTEGER, gl.UNSIGNED_INT, Uint32Array];
    this.looks = table(gl, splats.count, ...whole, (out, at, i) => {
      out[at] = word(smaller[0][i], smaller[1][i], smaller[2][i], largest[i]);
      out[at + 1] = word(scale[0][i], scale[1][i], scale[2][i], opacity[i]);
      out[at + 2] = word(sh0[0][i], sh0[1][i], sh0[2][i], confidence[i]);
      out[at + 3] = word(identity[0][i], identity[1][i], identity[2][i], 0);
    });
    const columns = sh.length;
    this.harmonics = table(gl, splats.count * texels, ...whole, (out, at, texel) => {
      const i = Math.floor(texel / texels);
      const first = 16 * (texel % texels);
      for (let w = 0; w < 4; w++) {
        let value = 0;
        for (let b = 0; b < 4; b++) {
          const column = first + 4 * w + b;
          if (column < columns) value |= sh[column][i] << (8 * b);
        }
        out[at + w] = value >>> 0;
      }
    });
  }

  /** Take the order to draw in: `shown` indices, the farthest first. */
  setOrder(order, shown, near, far) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order, 0, shown);
    Object.assign(this, { shown, depths: [near, far] });
  }

  /**
   * Take the objects' states.
   *
   * @param states of each object, 0 first: {move, hidden, colour (rgb or null), shade, palette,
   *   selected, hovered}; recoloured is colour * (shade[0] * brightness + shade[1]).
   */
  setStates(states) {
    const { gl } = this;
    const rows = Math.ceil(states.length / OBJECTS);
    const values = new Float32Array(4 * OBJECTS * 4 * rows);
    states.forEach((state, object) => {
      const at = (row) => 4 * (((4 * Math.floor(object / OBJECTS) + row) * OBJECTS) + (object % OBJECTS));
      values.set([...state.move, state.hidden ? 1 : 0], at(0));
      if (state.colour) values.set([...state.colour, state.shade[0]], at(1));
      values.set([...state.palette, state.shade[1]], at(2));
      values.set([state.selected ? 1 : 0, state.hovered ? 1 : 0], at(3));
    });
    this.marked = states.some((state) => state.selected || state.hovered);
    gl.bindTexture(gl.TEXTURE_2D, this.states);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, OBJECTS, 4 * rows, 0, gl.RGBA, gl.FLOAT, values);
  }

  resize(width, height) {
    const { gl } = this;
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    for (const image of [this.picture, this.marking]) {
      gl.bindTexture(gl.TEXTURE_2D, image);
      gl.texImage2D(gl.TEXTURE_2D, 0, this.format[0], width, height, 0, gl.RGBA, this.format[1], null);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.picture, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT1, gl.TEXTURE_2D, this.marking, 0);
  }

  /**
   * Draw the Gaussians into the picture, without showing it.
   *
   * @param shot what Camera.shot returns, for the picture's size.
   * @param mode one of MODES.
   * @param marked whether to draw as well where marked objects are.
   */
  draw(shot, mode, marked) {
    const { gl, drawing: { use, at }, splats: { header } } = this;
    this.resize(shot.width, shot.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, marked ? gl.COLOR_ATTACHMENT1 : gl.NONE]);
    gl.viewport(0, 0, shot.width, shot.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    use();
    [this.places, this.looks, this.harmonics, this.states].forEach((image, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, image);
    });
    gl.uniform1i(at("places"), 0);
    gl.uniform1i(at("looks"), 1);
    gl.uniform1i(at("harmonics"), 2);
    gl.uniform1i(at("states"), 3);
    gl.uniform4fv(at("viewX"), shot.view.slice(0, 4));
    gl.uniform4fv(at("viewY"), shot.view.slice(4, 8));
    gl.uniform4fv(at("viewZ"), shot.view.slice(8, 12));
    gl.uniform4f(at("lens"), shot.fx, shot.fy, shot.cx, shot.cy);
    gl.uniform2f(at("size"), shot.width, shot.height);
    gl.uniform3fv(at("eye"), shot.eye);
    gl.uniform1f(at("near"), shot.near);
    gl.uniform2fv(at("scaleRange"), header.scale);
    gl.uniform2fv(at("sh0Range"), header.sh0);
    gl.uniform1f(at("shStep"), header.sh_step);
    gl.uniform1i(at("mode"), MODES.indexOf(mode));
    const [near, far] = this.depths ?? [1, 2];
    gl.uniform2f(at("depthRange"), 1 / near, Math.min(1 / far, 0.99 / near));
    gl.uniform3fv(at("ramp"), (mode === "depth" ? MAGMA : VIRIDIS).flatMap(rgb));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.vertices);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.shown);
    gl.bindVertexArray(null);
    gl.disable(gl.BLEND);
    gl.activeTexture(gl.TEXTURE0);
  }

  /** Put the picture onto the canvas, or into a frame of another size that `read` then returns. */
  show(backdrop, accent, width, marked, [columns, rows] = [this.canvas.width, this.canvas.height]) {
    const { gl, screen: { use, at } } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, columns, rows);
    use();
    [this.picture, this.marking].forEach((image, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, image);
    });
    gl.uniform1i(at("picture"), 0);
    gl.uniform1i(at("marking"), 1);
    gl.uniform3fv(at("backdrop"), backdrop);
    gl.uniform3fv(at("accent"), accent);
    gl.uniform1f(at("width"), width);
    gl.uniform1i(at("marked"), marked ? 1 : 0);
    gl.uniform2f(at("size"), columns, rows);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.activeTexture(gl.TEXTURE0);
  }

  /** Return the drawn picture over a backdrop: RGBA bytes, rows from the top. */
  read(backdrop) {
    const { gl, size: [width, height] } = this;
    const half = this.format[0] === gl.RGBA16F;
    const raw = half ? new Float32Array(4 * width * height) : new Uint8Array(4 * width * height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.readBuffer(gl.COLOR_ATTACHMENT0);
    gl.readPixels(0, 0, width, height, gl.RGBA, half ? gl.FLOAT : gl.UNSIGNED_BYTE, raw);
    const pixels = new Uint8ClampedArray(4 * width * height);
    const unit = half ? 255 : 1;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [from, to] = [4 * (y * width + x), 4 * ((height - 1 - y) * width + x)];
        const behind = 255 - raw[from + 3] * unit;
        for (let c = 0; c < 3; c++) pixels[to + c] = raw[from + c] * unit + behind * backdrop[c];
        pixels[to + 3] = 255;
      }
    }
    return pixels;
  }
}

/** Compile a program; `use` starts it and `at` returns the place of a uniform. */
function program(gl, vertex, fragment) {
  const whole = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source.trim());
    gl.compileShader(shader);
    gl.attachShader(whole, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
      throw new NoWebGl(`The device cannot compile a shader: ${gl.getShaderInfoLog(shader)}`);
    }
  }
  gl.linkProgram(whole);
  if (!gl.getProgramParameter(whole, gl.LINK_STATUS)) {
    throw new NoWebGl(`The device cannot link a shader: ${gl.getProgramInfoLog(whole)}`);
  }
  const places = new Map();
  const at = (name) => {
    if (!places.has(name)) places.set(name, gl.getUniformLocation(whole, name));
    return places.get(name);
  };
  return { use: () => gl.useProgram(whole), at };
}

function texture(gl, filter) {
  const image = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, image);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return image;
}

/** Return a texture of `count` texels, filled by `write(array, place, texel)`. */
function table(gl, count, inside, format, type, Numbers, write) {
  const image = texture(gl, gl.NEAREST);
  const rows = Math.max(1, Math.ceil(count / WIDTH));
  gl.texStorage2D(gl.TEXTURE_2D, 1, inside, WIDTH, rows);
  const block = 64;
  for (let row = 0; row < rows; row += block) {
    const some = Math.min(block, rows - row);
    const values = new Numbers(4 * WIDTH * some);
    const [first, last] = [row * WIDTH, Math.min(count, (row + some) * WIDTH)];
    for (let texel = first; texel < last; texel++) write(values, 4 * (texel - first), texel);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, WIDTH, some, format, type, values);
  }
  return image;
}
