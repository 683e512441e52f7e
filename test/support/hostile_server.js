// A malicious server, for the TAP tests. It uses bare sockets, to send what no HTTP library would send.
//
//   node hostile_server.js --records FILE [--tls NAME=CERT,KEY[,old]]...
//
// Prints "NAME PORT" for each TLS listener (old: it speaks TLS 1.0 and 1.1 only) and then "listening PORT" for the plain
// one. Lives until its standard input ends. A line of FILE is a JSON object for each request: listener, path, connection.
//
// What it answers, by path:
//   /endless-body     200 and an endless body, as fast as the client reads
//   /endless-headers  endless header lines
//   /endless-line     one endless header line
//   /bomb             200, Content-Encoding: gzip, 200 kB that unpack to 200 MB
//   /drip             200, then a byte of an endless body every 20 ms
//   /drip-headers     a byte of an endless header line every 20 ms
//   /bytes            200, a body and a content type with NUL and invalid UTF-8
//   /nul-header       a header line with a NUL in it
//   /too-short        promises 10 bytes, sends 2, closes
//   /forged           promises 2 bytes, then sends a complete second answer (200)
//   /two-lengths      two different Content-Length headers
//   /huge-length      a Content-Length beyond 64 bits
//   /bad-chunk        chunked, with a chunk size beyond 64 bits
//   /informed         endless 1xx answers
//   /status-999       a status that does not exist
// Everything else gets 500, with a small JSON body.
'use strict'

const { appendFileSync, readFileSync } = require('node:fs')
const net = require('node:net')
const tls = require('node:tls')
const zlib = require('node:zlib')
const { parseArgs } = require('node:util')

const { values: options } = parseArgs({
  options: { records: { type: 'string' }, tls: { type: 'string', multiple: true, default: [] } },
})

// Writes the same bytes again and again, as fast as the client reads, until the client closes the connection.
function endlessly(socket, bytes) {
  while (!socket.destroyed && socket.write(bytes));
  socket.once('drain', () => endlessly(socket, bytes))
}

function drip(socket, byte) {
  const timer = setInterval(() => socket.write(byte), 20)
  socket.on('close', () => clearInterval(timer))
}

const head = (status, ...lines) => `HTTP/1.1 ${status}\r\n${lines.map((line) => line + '\r\n').join('')}\r\n`
const ok = (body, ...lines) => head('200 OK', `Content-Length: ${body.length}`, ...lines) + body

const answers = {
  '/endless-body': (socket) => {
    socket.write(head('200 OK', 'Content-Type: text/plain'))
    endlessly(socket, Buffer.alloc(65536, 'x'))
  },
  '/endless-headers': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    endlessly(socket, 'X-More: and more\r\n'.repeat(1000))
  },
  '/endless-line': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nX-Long: ')
    endlessly(socket, Buffer.alloc(65536, 'x'))
  },
  '/bomb': (socket) => {
    const packed = zlib.gzipSync(Buffer.alloc(200 * 1024 * 1024))
    socket.write(head('200 OK', 'Content-Encoding: gzip', `Content-Length: ${packed.length}`))
    socket.write(packed)
  },
  '/drip': (socket) => {
    socket.write(head('200 OK', 'Content-Type: text/plain'))
    drip(socket, 'x')
  },
  '/drip-headers': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nX-Slow: ')
    drip(socket, 'x')
  },
  '/bytes': (socket) => {
    socket.write(head('200 OK', 'Content-Type: text/pl\xe9in', 'Content-Length: 9'), 'latin1')
    socket.write(Buffer.from([0x61, 0x00, 0x62, 0xff, 0xfe, 0xc3, 0x28, 0xed, 0x63]))
  },
  '/nul-header': (socket) => socket.write(head('200 OK', 'X-Nul: a\0b', 'Content-Length: 0')),
  '/too-short': (socket) => socket.end(head('200 OK', 'Content-Length: 10') + 'ok'),
  '/forged': (socket) => socket.write(ok('ok') + ok('{"forged":true}', 'Content-Type: application/json')),
  '/two-lengths': (socket) => socket.end(head('200 OK', 'Content-Length: 2', 'Content-Length: 60') + 'ok'),
  '/huge-length': (socket) => socket.end(head('200 OK', 'Content-Length: 99999999999999999999999') + 'ok'),
  '/bad-chunk': (socket) => socket.end(head('200 OK', 'Transfer-Encoding: chunked') + 'fffffffffffffffffffff\r\nok\r\n'),
  '/informed': (socket) => endlessly(socket, 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(500)),
  '/status-999': (socket) => socket.write(head('999 Beyond', 'Content-Length: 0')),
}

let connections = 0

function listener(name) {
  return (socket) => {
    const connection = ++connections
    let received = ''
    socket.on('error', () => {})
    socket.on('data', (data) => {
      received += data.toString('latin1')
      if (!received.includes('\r\n\r\n')) return
      const path = received.split(' ')[1]
      received = ''
      appendFileSync(options.records, JSON.stringify({ listener: name, path, connection }) + '\n')
      const answer = answers[path]
      if (answer) answer(socket)
      else socket.write(head('500 Oh', 'Content-Type: application/json', 'Content-Length: 15') + '{"honest":true}')
    })
  }
}

function listen(server, name) {
  return new Promise((done) => server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${name} ${server.address().port}\n`)
    done()
  }))
}

async function main() {
  for (const wish of options.tls) {
    const [name, files] = wish.split('=')
    const [cert, key, old] = files.split(',')
    const versions = old ? { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } : {}
    const server = tls.createServer({ cert: readFileSync(cert), key: readFileSync(key), ...versions }, listener(name))
    server.on('tlsClientError', () => {})
    await listen(server, name)
  }
  await listen(net.createServer(listener('plain')), 'listening')
}

main()
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
process.stdin.on('error', () => process.exit(0))
