import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `npm run dev` serves the page from Vite and leaves the API to a sandbox that is already running.
const sandbox = 'http://127.0.0.1:8080';

export default defineConfig({
  base: '/graphiql/',
  plugins: [react()],
  // Workers are ES modules in files of their own: the page's policy allows neither inline scripts nor eval.
  worker: { format: 'es' },
  build: {
    // Every browser that runs module workers preloads modules itself.
    modulePreload: { polyfill: false },
    // The editor comes in chunks of up to 2 MB; the default warning is meant for public sites.
    chunkSizeWarningLimit: 5000,
    // GraphiQL's files carry a note to React's compiler, which has no business in a bundle.
    rolldownOptions: {
      onLog: (level, log, report) => log.code !== 'MODULE_LEVEL_DIRECTIVE' && report(level, log),
      // GraphiQL titles its icons for screen readers after the components' names.
      output: { keepNames: true },
    },
  },
  server: {
    proxy: {
      '/graphql': { target: sandbox, ws: true },
      '/graphiql/settings.json': sandbox,
    },
  },
});
