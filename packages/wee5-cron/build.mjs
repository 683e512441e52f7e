// Builds dist: esm and cjs, each with its types, from src; the command line, in esm/cli; and the portable edition.

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const compile = (project) => execFileSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });

const repository = join(here, '../..');
const config = join(here, 'src/cli/config.ts');

// The script of the repository as a module of the command line: its functions are exported, instead of called.
const script = readFileSync(join(repository, 'scripts/generate-cron-config.ts'), 'utf8');
const lastLine = '\nprocess.exitCode = main(process.argv.slice(2));\n';
if (!script.endsWith(lastLine)) throw new Error('scripts/generate-cron-config.ts does not end as expected');
const exported = script.slice(0, -lastLine.length).replaceAll('npx tsx scripts/generate-cron-config.ts', 'npx wee5-cron config')
  .replaceAll('generate-cron-config [', 'npx wee5-cron config [');
writeFileSync(config, `// Made by build.mjs from scripts/generate-cron-config.ts.\n${exported}\nexport { lookUp, main, readEnvFile };\n`);

rmSync(join(here, 'dist'), { recursive: true, force: true });
compile(here);
compile(join(here, 'tsconfig.cli.json'));
chmodSync(join(here, 'dist/esm/cli/main.js'), 0o755);

cpSync(join(repository, 'LICENSE'), join(here, 'LICENSE'));
execFileSync('make', ['--silent', '-C', repository, 'portable'], { stdio: ['ignore', 'ignore', 'inherit'] });
cpSync(join(repository, 'sql/wee5_cron--portable.sql'), join(here, 'dist/wee5_cron--portable.sql'));

// TypeScript decides between ESM and CJS by the package.json nearest to the source: the CJS build has a copy of its own.
const copy = mkdtempSync(join(tmpdir(), 'wee5-cron-cjs-'));
try {
  cpSync(join(here, 'src'), join(copy, 'src'), { recursive: true, filter: (path) => path !== join(here, 'src/cli') });
  const project = { extends: join(here, 'tsconfig.json'), compilerOptions: { verbatimModuleSyntax: false, rootDir: 'src', outDir: 'dist' }, include: ['src'] };
  writeFileSync(join(copy, 'tsconfig.json'), JSON.stringify(project));
  writeFileSync(join(copy, 'package.json'), '{ "type": "commonjs" }\n');
  compile(copy);
  cpSync(join(copy, 'dist'), join(here, 'dist/cjs'), { recursive: true });
} finally {
  rmSync(copy, { recursive: true, force: true });
}
writeFileSync(join(here, 'dist/cjs/package.json'), '{ "type": "commonjs" }\n');
