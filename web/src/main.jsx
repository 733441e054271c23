// The page's entry: ask the server how it wants to be used, then open the editor.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Explorer } from './Explorer.jsx';
import { loadSettings } from './settings.js';

const root = createRoot(document.getElementById('page'));

try {
  const settings = await loadSettings();
  root.render(
    <StrictMode>
      <Explorer settings={settings} />
    </StrictMode>,
  );
} catch (error) {
  root.render(
    <p className="notice" role="alert">
      The editor could not start: {error.message}
    </p>,
  );
}
