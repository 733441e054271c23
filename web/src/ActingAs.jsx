import { useHeadersEditorState } from '@graphiql/react';
import { useId } from 'react';

import { authorizationOf, bearer, withAuthorization } from './headers.js';

const NOBODY = 'nobody';
const SOMEONE_ELSE = 'someone else';

/**
 * Switches the active tab between the sandbox's identities.
 *
 * It keeps no state of its own: what the headers editor says is what will be sent, so that is what it shows.
 */
export function ActingAs({ tokens }) {
  const id = useId();
  const [headers, setHeaders] = useHeadersEditorState();
  const current = identityIn(headers, tokens);

  function actAs(label) {
    const chosen = tokens.find(each => each.label === label);
    setHeaders(withAuthorization(headers, chosen?.token));
  }

  return (
    <div className="acting-as">
      <label htmlFor={id}>Acting as</label>
      <select id={id} value={current} onChange={event => actAs(event.target.value)}>
        {tokens.map(({ label }) => (
          <option key={label}>{label}</option>
        ))}
        <option value={NOBODY}>nobody (no token)</option>
        {current === SOMEONE_ELSE && <option value={SOMEONE_ELSE}>as the headers say</option>}
      </select>
    </div>
  );
}

function identityIn(headers, tokens) {
  const authorization = authorizationOf(headers);
  if (authorization === undefined) {
    return NOBODY;
  }
  return tokens.find(({ token }) => bearer(token) === authorization)?.label ?? SOMEONE_ELSE;
}
