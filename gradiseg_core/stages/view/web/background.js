// The page's side of the worker: one promise for each question.

/** Sorts and picks in a worker, which holds its own copy of the Gaussians. */
export class Background {
  constructor(source, splats) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.waiting = new Map();
    this.number = 0;
    this.order = new Uint32Array(splats.count);
    this.worker.onmessage = ({ data }) => {
      const answer = this.waiting.get(data.number);
      this.waiting.delete(data.number);
      answer(data);
    };
    this.worker.postMessage({ splats });
  }

  ask(question, transfer = []) {
    const number = ++this.number;
    return new Promise((answer) => {
      this.waiting.set(number, answer);
      this.worker.postMessage({ number, ...question }, transfer);
    });
  }

  /** Return {order, shown, near, far, ms} for a shot; give the order back with `release`. */
  sort(shot, offsets) {
    const order = this.order ?? new Uint32Array(this.size);
    this.size = order.length;
    this.order = null;
    return this.ask({ sort: { view: shot.view, near: shot.near, offsets, order } }, [order.buffer]);
  }

  release(order) {
    this.order = order;
  }

  /** Return what the pixel (x, y) of a shot shows. */
  async pick(shot, x, y, offsets) {
    const { view, fx, fy, cx, cy, width, height, near } = shot;
    const plain = { view, fx, fy, cx, cy, width, height, near };
    return (await this.ask({ pick: { shot: plain, x, y, offsets } })).picked;
  }
}
