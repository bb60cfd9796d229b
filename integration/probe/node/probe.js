// The probe on Node, with what Node has: getaddrinfo in a thread pool, c-ares beside it, sockets of libuv.
// It answers the questions of ../probe.py, where their contract stands, as far as they are not Python's own.
'use strict';
const dgram = require('node:dgram');
const dns = require('node:dns/promises');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const readline = require('node:readline');

const who = process.env.PROBE_WHO ?? 'nobody';
const GAI = ['ENOTFOUND', 'EAI_AGAIN', 'ENODATA', 'ESERVFAIL'];

const questions = {
  environment: () => ({ ...process.env }),
  hostname: () => os.hostname(),
  file: (q) => file(q.path),
  write: (q) => { fs.writeFileSync(q.path, q.text); return q.text.length; },
  resolve: async (q) => {
    const found = await dns.lookup(q.name, { all: true });
    return [...new Set(found.map((one) => one.address))].sort();
  },
  reverse: async (q) => (await dns.reverse(q.address))[0],  // c-ares, not getaddrinfo
  tcp,
  udp,
  addresses: () => Object.values(os.networkInterfaces()).flat()
    .filter((one) => !one.internal && !one.address.startsWith('fe80:'))
    .map((one) => one.address).sort(),
  listen: async (q) => { await listen(q.kind, q.port, q.address ?? ''); return q.port; },
};

function file(where) {
  const info = fs.lstatSync(where);
  const seen = { mode: info.mode & 0o7777, kind: 'other' };
  if (info.isSymbolicLink()) seen.target = fs.readlinkSync(where);
  const there = fs.statSync(where);
  if (there.isDirectory()) return { ...seen, kind: 'directory', names: fs.readdirSync(where).sort() };
  if (there.isFile()) return { ...seen, kind: 'file', content: fs.readFileSync(where).toString('base64') };
  return seen;
}

function timedOut() {
  return Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' });
}

async function tcp({ host, port, send = '', end = true }) {
  const connection = net.connect({ host, port, allowHalfOpen: true });
  connection.setTimeout(10000, () => connection.destroy(timedOut()));
  try {
    await once(connection, 'connect');
    const [own, peer] = [connection.localAddress, connection.remoteAddress];
    connection[end ? 'end' : 'write'](send);
    const pieces = [];
    for await (const piece of connection) {
      pieces.push(piece);
      if (!end) break;
    }
    return { received: Buffer.concat(pieces).toString(), own: plain(own), peer: plain(peer) };
  } finally {
    connection.destroy();
  }
}

async function udp({ host, port, size = 5, tries = 1 }) {
  const { address, family } = await dns.lookup(host);
  const sent = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
  const flow = dgram.createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    for (let left = tries - 1; ; left--) {
      const answer = once(flow, 'message', { signal: AbortSignal.timeout(Math.floor(5000 / tries)) });
      flow.send(sent, port, address);
      try {
        const [received, peer] = await answer;
        return { size: received.length, same: received.equals(sent), peer: plain(peer.address) };
      } catch (problem) {
        if (problem.name !== 'AbortError') throw problem;
        if (left <= 0) throw timedOut();
      }
    }
  } finally {
    flow.close();
  }
}

async function listen(kind, port, address) {
  if (kind === 'udp') {
    const flow = dgram.createSocket(address.includes('.') ? 'udp4' : 'udp6');
    flow.on('message', (data, peer) => flow.send(data, peer.port, peer.address));
    flow.bind(port, address || undefined);
    return once(flow, 'listening');
  }
  const server = kind === 'http' ? http.createServer(answer)
    : net.createServer({ allowHalfOpen: true }, (peer) => peer.on('error', () => {}).pipe(peer));
  server.listen(port, address || undefined);
  return once(server, 'listening');
}

async function answer(request, response) {
  const seen = { who };
  let [length, sum] = [0, 0];
  for await (const piece of request) {
    length += piece.length;
    for (const byte of piece) sum += byte;
  }
  if (request.method === 'POST') Object.assign(seen, { length, sum });
  else {
    Object.assign(seen, {
      hostname: os.hostname(), path: request.url, host: request.headers.host,
      peer: plain(request.socket.remoteAddress), own: plain(request.socket.localAddress),
    });
  }
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(seen) + '\n');
}

function plain(address) {
  return address.replace(/^::ffff:/, '');
}

// Errors are named as Python does, so that one test reads all.
function failed(problem) {
  const code = problem.code ?? '';
  const kind = GAI.includes(code) ? 'gaierror'
    : code === 'ETIMEDOUT' ? 'TimeoutError' : code ? 'OSError' : problem.name;
  return { kind, errno: kind === 'gaierror' ? '' : code, text: problem.message };
}

async function reply(line) {
  try {
    const question = JSON.parse(line);
    const ask = questions[question.ask];
    if (!ask) throw new Error(`Node's probe does not know ${question.ask}`);
    return { is: await ask(question) };
  } catch (problem) {
    return { error: failed(problem) };
  }
}

async function main() {
  for (const word of process.argv.slice(3)) {
    const [, kind, port, address = ''] = /^(\w+):(\d+)(?:@(.*))?$/.exec(word);
    await listen(kind, Number(port), address);
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await reply(line)) + '\n');
  }
  process.exit(0);
}

main();
