// Builds dist/esm and dist/cjs, each with its types, from src.

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const compile = (project) => execFileSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });

rmSync(join(here, 'dist'), { recursive: true, force: true });
compile(here);

// TypeScript decides between ESM and CJS by the package.json nearest to the source: the CJS build has a copy of its own.
const copy = mkdtempSync(join(tmpdir(), 'wee5-cron-cjs-'));
try {
  cpSync(join(here, 'src'), join(copy, 'src'), { recursive: true });
  const project = { extends: join(here, 'tsconfig.json'), compilerOptions: { verbatimModuleSyntax: false, rootDir: 'src', outDir: 'dist' }, include: ['src'] };
  writeFileSync(join(copy, 'tsconfig.json'), JSON.stringify(project));
  writeFileSync(join(copy, 'package.json'), '{ "type": "commonjs" }\n');
  compile(copy);
  cpSync(join(copy, 'dist'), join(here, 'dist/cjs'), { recursive: true });
} finally {
  rmSync(copy, { recursive: true, force: true });
}
writeFileSync(join(here, 'dist/cjs/package.json'), '{ "type": "commonjs" }\n');
