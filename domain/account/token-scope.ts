/** What a token may do. Each scope includes the scopes before it. Sessions may do everything. */
export const TOKEN_SCOPES = ['READ', 'RUN', 'WRITE'] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

export function includesScope(scope: TokenScope, wanted: TokenScope): boolean {
  return TOKEN_SCOPES.indexOf(scope) >= TOKEN_SCOPES.indexOf(wanted);
}
