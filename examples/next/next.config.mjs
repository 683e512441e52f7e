import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));

/** @type {import('next').NextConfig} */
export default {
  // This directory is the app, whatever lies above it.
  turbopack: { root: here },
  outputFileTracingRoot: here,
  // Left to Node, not bundled.
  serverExternalPackages: ['pg'],
};
