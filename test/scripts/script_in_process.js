// scripts/generate-cron-config.ts, run within the test's own process with an environment, a .env.local and outputs that
// the test gives it: thousands of runs take a second.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import ts from 'typescript';

const nodeRequire = createRequire(import.meta.url);
const source = readFileSync(new URL('../../scripts/generate-cron-config.ts', import.meta.url), 'utf8');
const { outputText } = ts.transpileModule(`${source}\nexport { parseDotenv };\n`, {
  compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
});
const script = new Function('require', 'exports', 'process', outputText);

// Returns { status, stdout, stderr }; `file` is the text of .env.local, undefined where there is none.
export function run(args, { env = {}, file, exports = {} } = {}) {
  const result = { status: 0, stdout: '', stderr: '' };
  const process = {
    argv: ['node', 'generate-cron-config.ts', ...args],
    env,
    stdout: { write: (text) => (result.stdout += text) },
    stderr: { write: (text) => (result.stderr += text) },
    set exitCode(code) {
      result.status = code;
    },
  };
  const readEnvFile = (path) => {
    if (path !== '.env.local') throw new Error(`it read ${path}`);
    if (file === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return file;
  };
  script((name) => (name === 'node:fs' ? { readFileSync: readEnvFile } : nodeRequire(name)), exports, process);
  return result;
}

const exported = {};
run(['--help'], { exports: exported });

export function parseDotenv(text) {
  return Object.fromEntries(exported.parseDotenv(text));
}
