// Holds a running server to the GraphQL-over-HTTP specification: `node audit.mjs http://127.0.0.1:PORT`.
//
// The audits are graphql-http's own. The last line of the output is `audit: N passed, M failed`.
import { auditServer } from 'graphql-http';

const [baseUrl] = process.argv.slice(2);
const results = await auditServer({ url: `${baseUrl}/graphql`, fetchFn: fetch });
const failed = results.filter(result => result.status !== 'ok');
for (const { id, name, reason } of failed) {
  console.log(`FAIL ${id} ${name}: ${reason}`);
}
console.log(`audit: ${results.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length === 0 && results.length > 50 ? 0 : 1;
