/** What is said about one connection of a user. */
export type Meta = { phx_ref: string; [key: string]: unknown };
export type Entry = { metas: Meta[] };
export type State = { [user: string]: Entry };
export type Diff = { joins: State; leaves: State };

/** `current`: the user before; undefined for one who was not there. */
export type OnJoin = (user: string, current: Entry | undefined, joined: Entry) => void;
/** `current`: the user afterwards; without metas for one who is there no longer. */
export type OnLeave = (user: string, current: Entry, left: Entry) => void;

/** The part of a socket of socket.io-client that is used. */
export interface SocketLike {
  on(event: string, listener: (...args: any[]) => void): unknown;
  off(event: string, listener: (...args: any[]) => void): unknown;
}

export class Presence {
  constructor(socket: SocketLike, room: string);
  readonly room: string;
  readonly state: State;
  /** Whether users are told one by one; not in rooms with too many. */
  readonly isListed: boolean;
  readonly count: number;
  onJoin(handler: OnJoin): void;
  onLeave(handler: OnLeave): void;
  onSync(handler: () => void): void;
  list(): { user: string; metas: Meta[] }[];
  list<T>(choose: (user: string, entry: Entry) => T): T[];
  destroy(): void;
  static syncState(current: State, state: State, onJoin?: OnJoin, onLeave?: OnLeave): State;
  static syncDiff(current: State, diff: Diff, onJoin?: OnJoin, onLeave?: OnLeave): State;
}
