// The application: what is shown, and what changes it. Parts of the page listen to it.

import { Camera, minus, plus } from "./camera.js";
import { Edits, nothing } from "./edits.js";
import { MODES, rgb } from "./renderer.js";
import { applyFragment, fragmentOf } from "./state.js";

const SLOW = 45; // ms a frame; slower ones are drawn smaller while the camera moves
const FLIGHT = 380; // ms from one camera to another
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class App {
  constructor({ scene, splats, renderer, background }) {
    Object.assign(this, { scene, splats, renderer, background });
    this.camera = new Camera(scene);
    this.edits = new Edits();
    this.selected = new Set();
    [this.mode, this.hovered, this.moving, this.photograph] = ["colour", 0, false, null];
    this.listeners = new Map();
    this.palettes = scene.objects.map((object) => rgb(object.colour));
    this.offsets = new Float32Array(4 * (scene.objects.length + 1));
    [this.quality, this.frames, this.drawn, this.sorting] = [1, 0, null, false];
    this.times = { sort: [], frame: [] };
    this.edits.listeners.push(() => this.statesChanged());
    this.resized();
    this.statesChanged();
    addEventListener("resize", () => this.resized());
    new ResizeObserver(() => this.resized()).observe(renderer.canvas);
    addEventListener("hashchange", () => {
      if (location.hash.slice(1) !== this.written) applyFragment(this, location.hash);
      this.cameraMoved();
    });
  }

  on(what, listener) {
    if (!this.listeners.has(what)) this.listeners.set(what, []);
    this.listeners.get(what).push(listener);
  }

  tell(what) {
    for (const listener of this.listeners.get(what) ?? []) listener();
  }

  // ---- what is shown

  /** Return every object's state, the one of no object first. */
  states() {
    const { hidden, colours, moves } = this.edits.now;
    return Array.from({ length: this.scene.objects.length + 1 }, (_, place) => ({
      move: moves.get(place) ?? [0, 0, 0],
      hidden: hidden.has(place),
      colour: colours.has(place) ? rgb(colours.get(place)) : null,
      shade: place ? this.scene.objects[place - 1].shade : [1, 0],
      palette: place ? this.palettes[place - 1] : [0, 0, 0],
      selected: this.selected.has(place),
      hovered: this.hovered === place && place > 0,
    }));
  }

  statesChanged() {
    const states = this.states();
    this.renderer.setStates(states);
    const before = this.offsets.slice();
    states.forEach(({ move, hidden }, place) => this.offsets.set([...move, hidden ? 1 : 0], 4 * place));
    if (this.offsets.some((value, i) => value !== before[i])) this.unsorted = true;
    this.tell("states");
    this.remember();
    this.redraw();
  }

  setMode(mode) {
    this.mode = MODES.includes(mode) ? mode : "colour";
    this.tell("mode");
    this.remember();
    this.redraw();
  }

  select(places, more = false) {
    const next = new Set(more ? this.selected : []);
    for (const place of places) {
      if (more && next.has(place)) next.delete(place);
      else next.add(place);
    }
    this.selected = next;
    if (!next.size) this.moving = false;
    this.statesChanged();
    this.tell("selection");
  }

  hover(place) {
    if (this.hovered === place) return;
    this.hovered = place;
    this.statesChanged();
  }

  setMoving(on) {
    this.moving = on && this.selected.size > 0;
    this.statesChanged();
  }

  // ---- what is done to objects

  toggleHidden(places) {
    const all = places.every((place) => this.edits.now.hidden.has(place));
    this.edits.change(({ hidden }) => {
      for (const place of places) all ? hidden.delete(place) : hidden.add(place);
    });
  }

  isolate(places) {
    const others = [...Array(this.scene.objects.length + 1).keys()].filter((place) => !places.includes(place));
    this.edits.change((now) => (now.hidden = new Set(others)));
  }

  recolour(places, hex, within = false) {
    const work = ({ colours }) => places.forEach((place) => colours.set(place, hex));
    if (within) this.edits.adjust(work);
    else this.edits.change(work);
  }

  showAll() {
    if (this.edits.now.hidden.size) this.edits.change((now) => (now.hidden = new Set()));
  }

  reset() {
    if (!this.edits.empty) {
      this.edits.change((now) => Object.assign(now, nothing()));
    }
  }

  // ---- the camera

  cameraMoved() {
    if (this.photograph !== null && !this.flight) this.leavePhotograph();
    this.unsorted = true;
    this.moved = performance.now();
    this.remember();
    this.redraw();
  }

  /** Move the camera by a function, not at once but in a short flight. */
  fly(work, after = () => {}) {
    const from = this.camera.saved();
    work();
    const to = this.camera.saved();
    if (calm.matches) {
      this.cameraMoved();
      return after();
    }
    this.flight = { from, to, start: performance.now(), after };
    this.redraw();
    return undefined;
  }

  /** Stand where a photograph was taken from, and lay it over the scene. */
  jump(number) {
    const lens = this.camera.lens;
    this.fly(() => this.camera.take(number), () => {
      this.photograph = number;
      this.tell("photograph");
    });
    if (lens !== this.camera.lens) this.tell("size");
  }

  leavePhotograph() {
    this.photograph = null;
    this.tell("photograph");
  }

  goHome() {
    this.leavePhotograph();
    this.fly(() => this.camera.take(this.scene.home));
  }

  /** Look at objects, or at everything. */
  frame(places) {
    const rows = places.map((place) => this.scene.objects[place - 1]);
    this.fly(() => {
      if (!rows.length) return this.camera.lookAt(this.scene.pivot, 2.5 * this.scene.radius);
      const centres = rows.map((row, i) => plus(row.centre, this.edits.now.moves.get(places[i]) ?? [0, 0, 0]));
      const middle = [0, 1, 2].map((axis) => centres.reduce((sum, c) => sum + c[axis], 0) / centres.length);
      const reach = Math.max(...rows.map((row, i) =>
        Math.hypot(...minus(centres[i], middle)) + Math.hypot(...row.size) / (2 * this.scene.unit)));
      return this.camera.lookAt(middle, Math.max(3 * reach, 20 * this.scene.near));
    });
  }

  /** Return the shot of the window, px of the page. */
  windowShot() {
    const { clientWidth, clientHeight } = this.renderer.canvas;
    return this.camera.shot(clientWidth, clientHeight, this.covered);
  }

  /** Measure how much of the canvas bar, panel and photographs cover, px of the page. */
  resized() {
    const box = (id) => document.getElementById(id).getBoundingClientRect();
    const [canvas, bar, panel, strip] = ["canvas", "bar", "panel", "strip"].map(box);
    const beside = panel.width > 0 && panel.width < canvas.width / 2;
    const below = strip.height > 0 && strip.top < canvas.bottom ? canvas.bottom - strip.top : 0;
    this.covered = [beside ? canvas.right - panel.left : 0, bar.bottom - canvas.top, below];
    this.unsorted = true;
    this.tell("size");
    this.redraw();
  }

  // ---- pointing

  /** Return what a point of the canvas shows, px of the page. */
  pick(x, y) {
    return this.background.pick(this.windowShot(), x, y, this.offsets.slice());
  }

  /** Highlight what is under the pointer; of many calls only the newest is answered. */
  async point(x, y) {
    this.pointed = [x, y];
    if (this.pointing) return;
    this.pointing = true;
    while (this.pointed) {
      const at = this.pointed;
      this.pointed = null;
      const { object } = await this.pick(...at);
      if (!this.pointed) this.hover(object);
    }
    this.pointing = false;
  }

  // ---- drawing

  redraw() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame((now) => this.render(now));
  }

  render(now) {
    this.scheduled = false;
    if (this.flight) {
      const { from, to, start, after } = this.flight;
      const share = Math.min(1, Math.max(0, (now - start) / FLIGHT));
      this.camera.between(from, to, share * share * (3 - 2 * share));
      this.unsorted = true;
      if (share < 1) this.redraw();
      else {
        this.flight = null;
        this.remember();
        after();
      }
    }
    const moving = this.flight || now - (this.moved ?? -1e9) < 160;
    this.judge(now, moving);
    const { canvas } = this.renderer;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const size = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const [width, height] = size.map((side) => Math.max(1, Math.round(side * this.quality)));
    const covered = this.covered.map((side) => (side * width) / Math.max(canvas.clientWidth, 1));
    this.renderer.draw(this.camera.shot(width, height, covered), this.mode, this.renderer.marked);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => rgb(style.getPropertyValue(name).trim());
    this.renderer.show(colour("--backdrop"), colour("--accent-line"), 1.6 * ratio, this.renderer.marked);
    if (this.unsorted) this.sort();
    if (moving) this.redraw();
  }

  /** Draw smaller while the camera moves and frames are slow; whole again when it rests. */
  judge(now, moving) {
    const took = now - (this.last ?? now);
    this.last = now;
    if (!moving) {
      this.quality = 1;
      return;
    }
    if (took <= 0 || took > 500) return;
    this.times.frame.push(took);
    this.slowness = 0.8 * (this.slowness ?? took) + 0.2 * took;
    if (this.slowness > SLOW && this.quality > 0.4) {
      this.quality *= 0.8;
      this.slowness = SLOW / 2;
    }
  }

  async sort() {
    if (this.sorting) return;
    [this.sorting, this.unsorted] = [true, false];
    const { order, shown, near, far, ms } = await this.background.sort(this.windowShot(), this.offsets.slice());
    this.renderer.setOrder(order, shown, near, far);
    this.background.release(order);
    this.times.sort.push(ms);
    this.sorting = false;
    this.tell("sorted");
    this.redraw();
  }

  /** Wait until what is drawn is sorted for where the camera is. */
  async settled() {
    while (this.flight || this.sorting || this.unsorted || this.scheduled) {
      await new Promise((done) => requestAnimationFrame(done));
    }
  }

  /**
   * Return what a photograph's camera sees, for tests and scripts: RGBA bytes, rows from the top.
   */
  async picture({ camera, width, height, mode = "colour", backdrop = [0, 0, 0] }) {
    await this.settled();
    const shot = new Camera(this.scene).take(camera).shot(width, height);
    this.sorting = true;
    const { order, shown, near, far } = await this.background.sort(shot, this.offsets.slice());
    this.renderer.setOrder(order, shown, near, far);
    this.background.release(order);
    this.renderer.draw(shot, mode, false);
    const pixels = this.renderer.read(backdrop);
    [this.sorting, this.unsorted] = [false, true];
    this.redraw();
    return pixels;
  }

  // ---- the rest

  setTheme(theme) {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = theme ?? ((root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark");
    this.redraw();
  }

  /** Write the state into the URL's fragment, a little later. */
  remember() {
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => {
      if (this.flight) return;
      this.written = fragmentOf(this);
      history.replaceState(null, "", `#${this.written}`);
    }, 250);
  }
}
