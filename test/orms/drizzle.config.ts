import { defineConfig } from 'drizzle-kit';

// SCHEMAS: what a careless schemaFilter would name. Without it, drizzle-kit looks at `public` alone.
const schemas = process.env['SCHEMAS']?.split(',');

export default defineConfig({
  dialect: 'postgresql',
  schema: './schema.ts',
  out: process.env['OUT'] ?? './out',
  dbCredentials: { url: process.env['DATABASE_URL'] ?? '' },
  ...(schemas && { schemaFilter: schemas }),
});
