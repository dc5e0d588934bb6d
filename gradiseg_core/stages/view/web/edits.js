// What the user did to objects: hidden, recoloured, moved, refined; every step can be undone.

const copy = ({ hidden, colours, moves, refined }) => ({
  hidden: new Set(hidden), colours: new Map(colours), moves: new Map(moves), refined: new Map(refined),
});

/** Return a state in which nothing was done. */
export const nothing = () => copy({ hidden: [], colours: [], moves: [], refined: [] });

/** The present state and those before and after it; objects go by their place in the table. */
export class Edits {
  constructor() {
    this.now = nothing();
    [this.past, this.future] = [[], []];
    this.listeners = [];
  }

  /** Change the state by a function; undo brings back what was. */
  change(work) {
    this.past.push(copy(this.now));
    this.future = [];
    work(this.now);
    this.tell();
  }

  /** Change the state within the present step, as while something is dragged. */
  adjust(work) {
    work(this.now);
    this.tell();
  }

  step(from, to) {
    if (!from.length) return false;
    to.push(this.now);
    this.now = from.pop();
    this.tell();
    return true;
  }

  undo() {
    return this.step(this.past, this.future);
  }

  redo() {
    return this.step(this.future, this.past);
  }

  tell() {
    this.listeners.forEach((listener) => listener());
  }

  get empty() {
    return !(this.now.hidden.size || this.now.colours.size || this.now.moves.size);
  }
}
