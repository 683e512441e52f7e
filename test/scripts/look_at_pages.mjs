// Opens pages in a real browser, as on a desktop in light mode and as on a phone in dark mode, and prints a line of JSON for
// each: what is wrong with the page, and what it shows. Each picture goes into the directory of its page.
//
//   node look_at_pages.mjs <path of Chromium> <page.html>...

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { HtmlValidate } from 'html-validate'
import puppeteer from 'puppeteer-core'

const [chromium, ...files] = process.argv.slice(2)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const validator = new HtmlValidate({ extends: ['html-validate:standard'] })

const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] })
try {
  for (const file of files) {
    const validity = await validator.validateFile(file)
    const invalid = validity.results.flatMap((result) => result.messages.map(({ line, ruleId, message }) => `line ${line}: ${message} (${ruleId})`))
    for (const [device, width, scheme] of [['desktop', 1280, 'light'], ['phone', 390, 'dark']]) {
      process.stdout.write(`${JSON.stringify({ file, scheme, device, invalid, ...await look(file, scheme, device, width) })}\n`)
    }
  }
} finally {
  await browser.close()
}

// The page without its refresh, which would reload it while the tools of a slow machine still look at it.
function still(file) {
  const copy = file.replace(/\.html$/, '.still.html')
  writeFileSync(copy, readFileSync(file, 'utf8').replace(/<meta http-equiv="refresh"[^>]*>\n/, ''))
  return copy
}

async function look(file, scheme, device, width) {
  const page = await browser.newPage()
  const complaints = []
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('dialog', async (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    await dialog.dismiss()
  })
  page.on('request', (request) => {
    if (!request.url().startsWith('file:')) complaints.push(`request of ${request.url()}`)
  })
  await page.setViewport({ width, height: 900 })
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
  await page.goto(pathToFileURL(still(file)).href)
  // Only the beginning of a long page: painting all of it may take a minute.
  const height = Math.min(await page.evaluate(() => document.documentElement.scrollHeight), 4000)
  await page.screenshot({ path: file.replace(/\.html$/, `-${scheme}-${device}.png`), clip: { x: 0, y: 0, width, height } })
  const seen = await page.evaluate(() => ({
    title: document.title,
    sentence: document.querySelector('.sentence')?.textContent ?? null,
    headings: [...document.querySelectorAll('h2')].map((heading) => heading.textContent),
    jobs: [...document.querySelectorAll('[aria-labelledby=jobs] tbody tr')].map((row) => ({
      name: row.querySelector('bdi')?.textContent, state: row.querySelector('.state')?.textContent,
    })),
    scripts: document.querySelectorAll('script, iframe, object, embed, img, link, form, a, base').length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  }))
  // The page's policy would block this tool, too.
  await page.setBypassCSP(true)
  await page.reload()
  await page.evaluate(axe)
  const violations = await page.evaluate(async () => (await axe.run(document)).violations.map((violation) => `${violation.id}: ${violation.nodes[0].html}`))
  await page.close()
  return { ...seen, complaints, violations }
}
