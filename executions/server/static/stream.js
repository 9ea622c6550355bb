// Shared by all pages of this browser: one connection, however many tabs there are. A classic script, so that every
// browser with shared workers takes it.
const ports = new Set();
let source = null;
let connected = false;

function tell(message) {
  for (const port of ports) port.postMessage(message);
}

function open(address, kinds) {
  source = new EventSource(address);
  source.onopen = () => { connected = true; tell({ connected }); };
  source.onerror = () => {
    connected = false;
    tell({ connected });
    // A refusal ends an EventSource for good; a new one is tried while somebody is there.
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => { if (ports.size && !source) open(address, kinds); }, 5000);
    }
  };
  for (const kind of kinds) {
    source.addEventListener(kind, (event) => tell({ kind, data: event.data }));
  }
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.close) {
      ports.delete(port);
      if (!ports.size && source) { source.close(); source = null; connected = false; }
      return;
    }
    ports.add(port);
    if (!source) open(data.open, data.kinds);
    // It comes to a stream that runs already, and may have missed something since its page was made.
    else { port.postMessage({ connected }); port.postMessage({ kind: "hello", data: "{}" }); }
  };
};
