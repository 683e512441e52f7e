import { bigint, pgTable, text } from 'drizzle-orm/pg-core';

export const posts = pgTable('posts', { id: bigint({ mode: 'number' }).primaryKey(), title: text().notNull() });
