import { lookUp, readEnvFile } from './config.js';

// A variable of the process, or of .env.local in the current directory.
export function environment(name: string): string | undefined {
  return lookUp([name], readEnvFile())?.text.trim();
}
