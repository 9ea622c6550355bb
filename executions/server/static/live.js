// What happens, as it happens. One connection for the whole browser where it has shared workers, else one for each
// page that is in sight. While it is paused nothing is fetched at all.
import { url } from "./page.js";

const KINDS = ["execution.created", "execution.updated", "execution.finished", "resync", "hello"];

export class Live {
  constructor() {
    this.paused = localStorage.getItem("executions.paused") === "1";
    this.connected = null;
    this.watchers = [];
    this.stateWatchers = [];
  }

  // Called with what is new: { id, status, ... }, or with { resync: true }.
  onEvent(watcher) { this.watchers.push(watcher); }

  onState(watcher) { this.stateWatchers.push(watcher); }

  start() {
    addEventListener("storage", (event) => {
      if (event.key === "executions.paused" && this.paused !== (event.newValue === "1")) this.toggle();
    });
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => { if (event.persisted) this.open(); });
    if (!window.SharedWorker) {
      document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    }
    this.open();
  }

  toggle() {
    this.paused = !this.paused;
    localStorage.setItem("executions.paused", this.paused ? "1" : "0");
    if (this.paused) this.close(); else this.open();
    this.changed(this.connected);
  }

  open() {
    if (this.paused || this.worker || this.source) return;
    const address = url("/api/v1/stream");
    if (window.SharedWorker) {
      this.worker = new SharedWorker(url(`/static/stream.js?v=${document.body.dataset.edition}`), { name: address });
      this.worker.port.onmessage = ({ data }) => this.take(data);
      this.worker.port.postMessage({ open: address, kinds: KINDS });
      return;
    }
    this.source = new EventSource(address);
    this.source.onopen = () => this.changed(true);
    this.source.onerror = () => this.changed(false);
    for (const kind of KINDS) {
      this.source.addEventListener(kind, (event) => this.take({ kind, data: event.data }));
    }
  }

  close() {
    if (this.worker) {
      this.worker.port.postMessage({ close: true });
      this.worker.port.close();
    }
    if (this.source) this.source.close();
    this.worker = this.source = null;
    this.connected = null;
  }

  take(message) {
    if ("connected" in message) { this.changed(message.connected); return; }
    const isWhole = message.kind === "resync" || message.kind === "hello";
    const event = isWhole ? { resync: true } : JSON.parse(message.data);
    for (const watcher of this.watchers) watcher(event);
  }

  changed(connected) {
    this.connected = connected;
    for (const watcher of this.stateWatchers) watcher();
  }
}
