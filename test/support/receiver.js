// A scriptable HTTP(S) receiver for the TAP tests. It records requests, and answers as their path says.
//
//   RECEIVER_SECRET=... node receiver.js --records FILE [--cert FILE --key FILE] [--address ADDRESS]
//
// Listens on 127.0.0.1, or on ADDRESS. Prints "control PORT" and then "listening PORT". Lives until its standard input ends,
// so that it never outlives the test that started it.
//
// What it answers, by path (a prefix before it is ignored):
//   /status/N        status N, a small JSON body; ?retry_after=S adds that header
//   /statuses/A,B,C  status A to the first request of that path, B to the second ..., the last to all that follow;
//                    ?retry_after=S as above, ?date=S the same as the date S seconds from now, in the format of ?as=
//   /slow?ms=N       200 after N milliseconds
//   /hang            nothing, until the control port is told to release
//   /redirect?to=U   308 (or ?status=N) with Location: U
//   /drop            reads the request, then closes the connection
//   /truncated       promises more bytes than it sends, then closes
//   /garbage         bytes that are not HTTP
//   /big?bytes=N     200 with N bytes of text
//   /binary          200 with bytes that are not text: NUL and invalid UTF-8
//   /html            an HTML page with 200 (or ?status=N)
//   /strict          400 to a JSON Content-Type without a body, as Fastify answers, and to invalid JSON
//   /echo            200, method, headers (without the bearer) and body as JSON
//   /cookie          200 with Set-Cookie and Alt-Svc to ?to=HOST:PORT
//   /leak            the bearer as it came, in body and headers, with 200 (or ?status=N)
// Everything else gets 200 {"ok":true}.
//
// Each line of FILE is a JSON object. Its event is "request" when a request was read completely, or "gone" when the
// client closed the connection before the answer. The bearer is recorded only as "match", "other" or "none". at_once is the
// number of requests of the path that are not answered, this one included.
//
// The control port (plain HTTP, POST):
//   /release         answers the hanging requests, with ?status=N (200); with ?keep=1 also all that come later
//   /hold            ends keep
//   /close           closes the listening port and every connection
//   /open            listens on the same port again
//   /finish?n=N      answers one hanging request by its number
//   /answer?path=P   sets the answer of that path: ?status=N (200), ?type=T (application/json), ?body=B, and
//                    ?header=NAME:VALUE for each further header line; or only ?raw=BYTES, with %XX for a byte that is
//                    not text
'use strict'

const { randomInt } = require('node:crypto')
const { appendFileSync, readFileSync } = require('node:fs')
const http = require('node:http')
const https = require('node:https')
const { parseArgs } = require('node:util')

const { values: options } = parseArgs({
  options: {
    records: { type: 'string' }, cert: { type: 'string' }, key: { type: 'string' }, address: { type: 'string', default: '127.0.0.1' },
  },
})
const secret = process.env.RECEIVER_SECRET ?? ''

let requests = 0
let connections = 0
let released = null // status for those who come to /hang, once /release?keep=1 was called
const hanging = new Map()
const unanswered = new Map() // how many requests, by path
const turns = new Map() // of /statuses, by path
const told = new Map() // what a path answers since /answer

function record(entry) {
  appendFileSync(options.records, JSON.stringify({ ...entry, time: Date.now() }) + '\n')
}

function bearer(request) {
  const given = request.headers.authorization
  if (given === undefined) return 'none'
  return given === `Bearer ${secret}` ? 'match' : 'other'
}

function withoutBearer(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'))
}

function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

// The three date formats of HTTP.
function dateIn(seconds, format) {
  const date = new Date(Date.now() + seconds * 1000)
  const [, weekday, day, month, year, time] = /^(\w+), (\d+) (\w+) (\d+) ([\d:]+) GMT$/.exec(date.toUTCString())
  if (format === 'asctime') return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`
  const long = date.toLocaleDateString('en-US', { weekday: 'long', timeZone: 'UTC' })
  if (format === 'rfc850') return `${long}, ${day}-${month}-${year.slice(2)} ${time} GMT`
  return date.toUTCString()
}

const answers = [
  [/\/status\/(\d{3})$/, ({ response, query, match }) => {
    const headers = query.has('retry_after') ? { 'Retry-After': query.get('retry_after') } : {}
    json(response, Number(match[1]), { status: Number(match[1]) }, headers)
  }],
  [/\/statuses\/([\d,]+)$/, ({ response, path, query, match }) => {
    const statuses = match[1].split(',')
    const turn = turns.get(path) ?? 0
    turns.set(path, turn + 1)
    const status = Number(statuses[Math.min(turn, statuses.length - 1)])
    const headers = {}
    if (query.has('retry_after')) headers['Retry-After'] = query.get('retry_after')
    if (query.has('date')) headers['Retry-After'] = dateIn(Number(query.get('date')), query.get('as'))
    json(response, status, { status }, headers)
  }],
  [/\/slow$/, ({ response, query }) => {
    setTimeout(() => json(response, 200, { slow: true }), Number(query.get('ms') ?? 1000))
  }],
  [/\/hang$/, ({ response, number }) => {
    if (released !== null) return json(response, released, { released: true })
    hanging.set(number, response)
  }],
  [/\/redirect$/, ({ response, query }) => {
    response.writeHead(Number(query.get('status') ?? 308), { Location: query.get('to') ?? '/elsewhere' })
    response.end()
  }],
  [/\/drop$/, ({ request }) => request.socket.destroy()],
  [/\/truncated$/, ({ request, response }) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': '1000' })
    response.write('only this', () => request.socket.destroy())
  }],
  [/\/garbage$/, ({ request }) => request.socket.end('this is not HTTP\r\n\r\n')],
  [/\/big$/, ({ response, query }) => {
    response.writeHead(200, { 'Content-Type': 'text/plain' })
    response.end('x'.repeat(Number(query.get('bytes') ?? 100_000)))
  }],
  [/\/binary$/, ({ response }) => {
    response.writeHead(200, { 'Content-Type': 'application/octet-stream' })
    response.end(Buffer.from([0x61, 0x00, 0x62, 0xff, 0xfe, 0x63]))
  }],
  [/\/html$/, ({ response, query }) => {
    response.writeHead(Number(query.get('status') ?? 200), { 'Content-Type': 'text/html; charset=utf-8' })
    response.end('<!DOCTYPE html><html><body><h1>A page for people</h1></body></html>')
  }],
  [/\/strict$/, ({ request, response, body }) => {
    const refuse = (code, message) => json(response, 400, { statusCode: 400, code, error: 'Bad Request', message })
    if (/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
      if (body === '') return refuse('FST_ERR_CTP_EMPTY_JSON_BODY', "Body cannot be empty when content-type is set to 'application/json'")
      try {
        JSON.parse(body)
      } catch {
        return refuse('FST_ERR_CTP_INVALID_JSON_BODY', 'Body is not valid JSON')
      }
    }
    json(response, 200, { ok: true })
  }],
  [/\/echo$/, ({ request, response, body }) => {
    json(response, 200, { method: request.method, headers: withoutBearer(request.headers), body })
  }],
  [/\/cookie$/, ({ response, query }) => {
    json(response, 200, {}, { 'Set-Cookie': 'session=kept; Path=/', 'Alt-Svc': `h2="${query.get('to')}"`, 'Refresh': `0; url=http://${query.get('to')}/` })
  }],
  [/\/leak$/, ({ request, response, query }) => {
    const given = request.headers.authorization ?? ''
    const token = given.replace(/^Bearer /, '')
    response.writeHead(Number(query.get('status') ?? 200), {
      'Content-Type': `application/x-leak; token=${encodeURIComponent(token)}`,
      Location: `/after?token=${encodeURIComponent(token)}`,
      'X-Token': token,
    })
    response.end(`you sent ${given}, in base64 ${Buffer.from(token).toString('base64')}\n`)
  }],
]

// Counts the request until it is answered, or its connection is closed. Returns how many of its path are counted.
function countUnanswered(path, response) {
  const count = (change) => unanswered.set(path, (unanswered.get(path) ?? 0) + change).get(path)
  const end = response.end
  let counted = true
  const uncount = () => {
    if (counted) count(-1)
    counted = false
  }
  response.end = (...content) => {
    uncount()
    return end.apply(response, content)
  }
  response.on('close', uncount)
  return count(1)
}

function answerAsTold(request, response, query) {
  if (query.has('raw')) return request.socket.end(unescape(query.get('raw')), 'latin1')
  const lines = query.getAll('header').map((line) => line.split(/:(.*)/s).slice(0, 2))
  response.writeHead(Number(query.get('status') ?? 200), [['Content-Type', query.get('type') ?? 'application/json'], ...lines].flat())
  response.end(query.get('body') ?? '{"ok":true}')
}

function serve(request, response) {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('error', () => {})
  request.on('end', () => {
    const number = ++requests
    const body = Buffer.concat(chunks).toString()
    const [path] = request.url.split('?', 1)
    const query = new URLSearchParams(request.url.slice(path.length + 1))
    record({
      event: 'request', number, connection: request.socket.number, from: request.socket.remoteAddress, method: request.method, url: request.url, path,
      headers: withoutBearer(request.headers), body, bearer: bearer(request), at_once: countUnanswered(path, response),
    })
    response.on('close', () => {
      hanging.delete(number)
      if (!response.writableFinished) record({ event: 'gone', number, url: request.url, path })
    })
    if (told.has(path)) return answerAsTold(request, response, told.get(path))
    for (const [pattern, answer] of answers) {
      const match = pattern.exec(path)
      if (match) return answer({ request, response, path, query, match, body, number })
    }
    json(response, 200, { ok: true })
  })
}

const server = options.cert
  ? https.createServer({ cert: readFileSync(options.cert), key: readFileSync(options.key) }, serve)
  : http.createServer(serve)
// A kept-alive connection stays: what a test sees of connections is the client's doing. No limits that a test that
// queues a thousand calls would run into.
server.keepAliveTimeout = 0
server.requestTimeout = 0
server.maxRequestsPerSocket = 0
server.on(options.cert ? 'secureConnection' : 'connection', (socket) => {
  socket.number = ++connections
  socket.on('error', () => {})
})
server.on('tlsClientError', () => record({ event: 'tls refused' }))

function release(status) {
  for (const response of hanging.values()) json(response, status, { released: true })
}

let port = 0
const commands = {
  '/release': (query) => {
    const status = Number(query.get('status') ?? 200)
    if (query.has('keep')) released = status
    release(status)
  },
  '/finish': (query) => {
    const response = hanging.get(Number(query.get('n')))
    if (response) json(response, Number(query.get('status') ?? 200), { released: true })
  },
  '/answer': (query) => {
    told.set(query.get('path'), query)
  },
  '/hold': () => {
    released = null
  },
  '/close': () => new Promise((done) => {
    server.close(done)
    server.closeAllConnections()
  }),
  '/open': () => new Promise((done) => server.listen(port, options.address, 1024, done)),
}

const control = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://control')
  const command = commands[pathname]
  if (command) await command(searchParams)
  response.writeHead(command ? 200 : 404, { Connection: 'close' })
  response.end()
})

function listening(name, { port }) {
  process.stdout.write(`${name} ${port}\n`)
}

// While the app is away, nobody else may answer on its port. The kernel gives ports above this one to whoever asks for any
// port, and to connections.
const lowestEphemeralPort = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0])

function listenBelow(limit) {
  port = randomInt(limit >> 1, limit)
  server.once('error', (error) => {
    if (error.code !== 'EADDRINUSE') throw error
    listenBelow(limit)
  })
  server.listen(port, options.address, 1024, () => {
    server.removeAllListeners('error')
    listening('listening', { port })
  })
}

control.listen(0, '127.0.0.1', () => {
  listening('control', control.address())
  listenBelow(lowestEphemeralPort)
})

process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
process.stdin.on('error', () => process.exit(0))
