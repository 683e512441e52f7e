import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const kServer = fileURLToPath(new URL('../server.js', import.meta.url))

function start(environment) {
  const { CRON_SECRET: _, PORT: __, ...inherited } = process.env
  return spawn(process.execPath, [kServer], { env: { ...inherited, ...environment } })
}

async function refusal(environment) {
  const app = start(environment)
  let text = ''
  app.stderr.on('data', (part) => (text += part))
  const [code] = await once(app, 'close')
  return { code, text }
}

test('does not start without CRON_SECRET', async () => {
  for (const environment of [{ PORT: '0' }, { PORT: '0', CRON_SECRET: '' }, { PORT: '0', CRON_SECRET: ' ' }]) {
    const { code, text } = await refusal(environment)
    assert.equal(code, 1)
    assert.match(text, /^not started: CRON_SECRET is not set/)
  }
})

test('does not start with a port that is none', async () => {
  const { code, text } = await refusal({ CRON_SECRET: 's', PORT: 'eighty' })
  assert.equal(code, 1)
  assert.match(text, /PORT is not a port: eighty/)
})

test('says where it listens, answers there, and stops on SIGTERM', async () => {
  const app = start({ CRON_SECRET: 'abc', PORT: '0' })
  const [line] = await once(createInterface({ input: app.stdout }), 'line')
  assert.match(line, /^listening on http:\/\/127\.0\.0\.1:\d+$/)
  const response = await fetch(`${line.slice('listening on '.length)}/api/cron/poll-activities`, {
    headers: { Authorization: 'Bearer abc' },
  })
  assert.equal(response.status, 200)
  await response.text()
  app.kill('SIGTERM')
  const [code] = await once(app, 'exit')
  assert.equal(code, 0)
})
