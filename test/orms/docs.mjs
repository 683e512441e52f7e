// What the page docs/orms.md tells people to write: the tests write exactly that.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('../../docs/orms.md', import.meta.url), 'utf8');

// The blocks of code in this language, below a heading, in their order.
export function blocks(heading, language) {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  const found = [...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter(([, name]) => name === language).map(([, , code]) => code);
  assert.notEqual(found.length, 0, `docs/orms.md has no ${language} below "${heading}"`);
  return found;
}
