// An HTTP app and a client of Node, as people write them: `node app.js serve PORT`, `node app.js upload|fetch PORT PATH TIMES`.
'use strict';
const http = require('http');

function serve(port) {
  const server = http.createServer((request, response) => {
    if (request.url === '/early') { // answers at once; Node reads the rest of the upload and drops it
      response.writeHead(413, { 'content-type': 'text/plain' });
      response.end('too big');
    } else if (request.url === '/earlyclose') { // as frameworks with a body limit do: the answer, and then the connection is cut
      response.writeHead(413, { 'content-type': 'text/plain', connection: 'close' });
      response.end('too big', () => request.socket.destroy());
    } else if (request.url === '/sleep') {
      console.log('waiting');
      response.on('close', () => console.log('cancelled'));
    } else {
      request.resume().on('end', () => response.end('ok'));
    }
  });
  server.listen(port, '127.0.0.1', () => console.log('ready'));
}

const count = (counts, key) => { counts[key] = (counts[key] || 0) + 1; };

// One upload and one ordinary request after it, over an agent that keeps connections.
async function upload(port, path, times) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const told = { statuses: {}, sockets: 0 };
  const seen = new Set();
  const ask = (method, target, body) => new Promise((resolve) => {
    const request = http.request({ host: '127.0.0.1', port, path: target, method, agent }, (response) => {
      seen.add(request.socket.localPort);
      response.resume().on('end', () => resolve(response.statusCode)).on('error', (error) => resolve(error.code));
    });
    request.on('error', (error) => resolve(error.code));
    request.end(body);
  });
  for (let turn = 0; turn < times; turn += 1) {
    count(told.statuses, await ask('POST', path, Buffer.alloc(8e6)));
    count(told.statuses, await ask('GET', '/'));
  }
  told.sockets = seen.size;
  return told;
}

async function fetches(port, path, times) {
  const told = { statuses: {} };
  for (let turn = 0; turn < times; turn += 1) {
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: 'u'.repeat(8e6) });
      await answer.text();
      count(told.statuses, answer.status);
    } catch (error) {
      count(told.statuses, String(error.cause?.code || error.message));
    }
  }
  return told;
}

const [what, port, path, times] = process.argv.slice(2);
if (what === 'serve') {
  serve(Number(port));
} else {
  (what === 'fetch' ? fetches : upload)(Number(port), path, Number(times)).then((told) => {
    console.log(JSON.stringify(told));
    process.exit(0);
  });
}
