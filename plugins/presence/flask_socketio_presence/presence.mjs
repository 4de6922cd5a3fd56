// Who is in a room, as flask-socketio-presence tells it over a Socket.IO socket. ES module, no dependencies.

/**
 * Keep the list of one room:
 *
 *     const presence = new Presence(socket, "doc:7");
 *     presence.onSync(() => show(presence.list()));
 *
 * Make it before the event after which the server tracks the client, so that it hears what it is told first.
 */
export class Presence {
  constructor(socket, room) {
    this.socket = socket;
    this.room = room;
    this.state = empty();
    this.isListed = true;
    this._count = 0;
    this._pending = null; // differences that came before the state
    this._handlers = { join: () => {}, leave: () => {}, sync: () => {} };
    this._listeners = {
      presence_state: (state) => this._takeState(state),
      presence_diff: (diff) => this._takeDiff(diff),
      presence_count: ({ count }) => this._takeCount(count),
    };
    for (const [event, take] of Object.entries(this._listeners)) {
      this._listeners[event] = (told, where) => where === this.room && take(told);
      socket.on(event, this._listeners[event]);
    }
    // Each connection is told everybody anew; differences that come first belong to that.
    this._listeners.connect = () => { this._pending = []; };
    socket.on("connect", this._listeners.connect);
    this._pending = [];
  }

  onJoin(handler) { this._handlers.join = handler; }
  onLeave(handler) { this._handlers.leave = handler; }
  onSync(handler) { this._handlers.sync = handler; }

  /** One value for each user: by default `{user, metas}`. */
  list(choose = (user, { metas }) => ({ user, metas })) {
    return Object.entries(this.state).map(([user, presence]) => choose(user, presence));
  }

  /** How many users there are, also where they are not listed. */
  get count() { return this.isListed ? Object.keys(this.state).length : this._count; }

  /** Listen no longer. */
  destroy() {
    for (const [event, listener] of Object.entries(this._listeners)) this.socket.off(event, listener);
  }

  _takeState(state) {
    this.isListed = true;
    this.state = Presence.syncState(this.state, state, this._handlers.join, this._handlers.leave);
    for (const diff of this._pending ?? []) this._apply(diff);
    this._pending = null;
    this._handlers.sync();
  }

  _takeDiff(diff) {
    if (this._pending !== null) {
      this._pending.push(diff);
      return;
    }
    this._apply(diff);
    this._handlers.sync();
  }

  _takeCount(count) {
    this.isListed = false;
    this._pending = []; // it is listed again with a state
    this._count = count;
    this._handlers.sync();
  }

  _apply(diff) {
    this.state = Presence.syncDiff(this.state, diff, this._handlers.join, this._handlers.leave);
  }

  /** Return the new state, and call what is given for whoever is new in it or missing. */
  static syncState(current, state, onJoin = () => {}, onLeave = () => {}) {
    const joins = empty();
    const leaves = empty();
    for (const user of new Set([...Object.keys(current), ...Object.keys(state)])) {
      const before = metasOf(current, user);
      const after = metasOf(state, user);
      const came = without(after, before);
      const gone = without(before, after);
      if (came.length) joins[user] = { metas: came };
      if (gone.length) leaves[user] = { metas: gone };
    }
    return Presence.syncDiff(current, { joins, leaves }, onJoin, onLeave);
  }

  /** Return the state after a difference, and call what is given for each user that it names. */
  static syncDiff(current, { joins, leaves }, onJoin = () => {}, onLeave = () => {}) {
    const state = empty();
    for (const [user, { metas }] of Object.entries(current)) state[user] = { metas: [...metas] };
    for (const [user, joined] of Object.entries(joins)) {
      const before = own(state, user);
      state[user] = { metas: [...without(metasOf(state, user), joined.metas), ...joined.metas] };
      onJoin(user, before, joined);
    }
    for (const [user, left] of Object.entries(leaves)) {
      const before = own(state, user);
      if (before === undefined) continue;
      const after = { metas: without(before.metas, left.metas) };
      if (after.metas.length) state[user] = after;
      else delete state[user];
      onLeave(user, after, left);
    }
    return state;
  }
}

const empty = () => Object.create(null); // a user may have any name, be it __proto__
const own = (state, user) => (Object.hasOwn(state, user) ? state[user] : undefined);
const metasOf = (state, user) => own(state, user)?.metas ?? [];

function without(metas, others) {
  const refs = new Set(others.map((meta) => meta.phx_ref));
  return metas.filter((meta) => !refs.has(meta.phx_ref));
}
