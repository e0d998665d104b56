// Loaded before server-everything, which takes a port and no address: puts whatever listens on loopback, at any free port,
// writes that port into the file of READY_FILE once it listens, and ends with whoever started it. It changes nothing of what is served.

import { renameSync, writeFileSync } from "node:fs";
import { Server } from "node:net";

const ready = process.env.READY_FILE;
const listen = Server.prototype.listen;

Server.prototype.listen = function (_port, ...rest) {
  this.once("listening", () => {
    writeFileSync(`${ready}.tmp`, String(this.address().port));
    renameSync(`${ready}.tmp`, ready);
  });
  const listening = rest.filter((argument) => typeof argument === "function");
  return listen.call(this, { host: "127.0.0.1", port: 0 }, ...listening);
};

// Whoever started this server holds its standard input open; when that closes, there is nobody left to serve.
process.stdin.on("end", () => process.exit()).resume();
