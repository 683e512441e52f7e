// What is used of Next.js, which this package does not install.
declare module 'next/server' {
  // Since Next.js 15.1.
  export const after: ((task: Promise<unknown>) => void) | undefined;
}
