// Opens pages in a real browser, as on a desktop in light and as on a phone in dark, and prints a line of JSON for each: what
// is wrong with it, and what stands in it. Each picture lies beside its page.
//
//   node look_at_pages.mjs <path of Chromium> <page.html>...

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { HtmlValidate } from 'html-validate'
import puppeteer from 'puppeteer-core'

const [chromium, ...files] = process.argv.slice(2)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const validator = new HtmlValidate({ extends: ['html-validate:standard'] })
// A page of the present state has to be loaded anew, and cannot ask: it has no script.
const rules = { 'meta-refresh': { enabled: false } }

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
  await page.goto(pathToFileURL(file).href)
  await page.screenshot({ path: file.replace(/\.html$/, `-${scheme}-${device}.png`), fullPage: true })
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
  // The page's policy keeps this tool out, too.
  await page.setBypassCSP(true)
  await page.reload()
  await page.evaluate(axe)
  const violations = await page.evaluate(async (rules) => (await axe.run(document, { rules })).violations.map((violation) => `${violation.id}: ${violation.nodes[0].html}`), rules)
  await page.close()
  return { ...seen, complaints, violations }
}
