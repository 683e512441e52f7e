// A proxy that supports only CONNECT, for the TAP tests. Prints "listening PORT". Writes a line to FILE for each request:
// its method, target and headers.
//
//   node connect_proxy.js FILE [USER:PASSWORD]
//
// After a POST of /refuse?port=N to the proxy itself, it answers 403 to targets with that port.
'use strict'

const { appendFileSync } = require('node:fs')
const http = require('node:http')
const net = require('node:net')

const [records, credentials] = process.argv.slice(2)
const refused = new Set()

function record(request) {
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, name === 'proxy-authorization' ? 'given' : value]))
  appendFileSync(records, JSON.stringify({ method: request.method, target: request.url, headers, names: Object.keys(headers) }) + '\n')
}

const server = http.createServer((request, response) => {
  if (request.method === 'POST' && request.url.startsWith('/refuse?port=')) {
    refused.add(request.url.slice('/refuse?port='.length))
    return response.writeHead(204, { Connection: 'close' }).end()
  }
  record(request)
  response.writeHead(501).end()
})

server.on('connect', (request, client, head) => {
  record(request)
  client.on('error', () => {})
  const [, host, port] = /^(.*):(\d+)$/.exec(request.url)
  if (credentials && request.headers['proxy-authorization'] !== `Basic ${Buffer.from(credentials).toString('base64')}`) {
    return client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n')
  }
  if (refused.has(port)) return client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
  const app = net.connect(Number(port), host.replace(/^\[|\]$/g, ''), () => {
    client.write('HTTP/1.1 200 Connection established\r\nX-From-Proxy: yes\r\n\r\n')
    app.write(head)
    app.pipe(client)
    client.pipe(app)
  })
  app.on('error', () => client.destroyed || client.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'))
  client.on('close', () => app.destroy())
})

server.listen(0, '127.0.0.1', () => process.stdout.write(`listening ${server.address().port}\n`))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
process.stdin.on('error', () => process.exit(0))
