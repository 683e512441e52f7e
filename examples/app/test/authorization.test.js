import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bearerCheck } from '../authorization.js'

test('the right bearer is let in', () => {
  assert.equal(bearerCheck('s3cret')('Bearer s3cret'), true)
})

test('everything else is not', () => {
  const isAuthorized = bearerCheck('s3cret')
  for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Bearer s3cre', 'Bearer s3crett', 'bearer s3cret', 's3cret',
    'Basic s3cret', 'Bearer undefined', 'Bearer s3cret, Bearer x']) {
    assert.equal(isAuthorized(header), false, String(header))
  }
})

test('the previous bearer is let in while there is one', () => {
  const isAuthorized = bearerCheck('new', 'old')
  assert.equal(isAuthorized('Bearer new'), true)
  assert.equal(isAuthorized('Bearer old'), true)
  assert.equal(isAuthorized('Bearer undefined'), false)
  for (const previous of [undefined, '', ' ']) {
    assert.equal(bearerCheck('new', previous)(`Bearer ${previous}`), false, String(previous))
  }
})

test('there is no check without a secret', () => {
  for (const secret of [undefined, null, '', '   ']) {
    assert.throws(() => bearerCheck(secret), /CRON_SECRET/, String(secret))
  }
})
