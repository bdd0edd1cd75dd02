/**
 * A rule of ESLint for the way of a request: V8 (11.3, that of Node 20) gives every object of a literal that begins with a spread
 * and gets further properties behind it a hidden class of its own. To make one costs 20 times as much, and whoever reads its
 * properties later finds no cache that knows it. With any property in front of the spread all share one.
 */

/** @type {import('eslint').Rule.RuleModule} */
export const stableShapes = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      spread:
        'Let a property of its own stand before the spread: V8 gives each object of this literal a hidden class of its own (docs/performance.md).',
    },
  },
  create(context) {
    const { getTypeAtLocation } =
      /** @type {import('@typescript-eslint/utils').ParserServicesWithTypeInformation} */ (
        context.sourceCode.parserServices
      )
    return {
      ObjectExpression(node) {
        const [first, ...rest] = node.properties
        if (first?.type !== 'SpreadElement' || rest.length === 0) return
        const spread = getTypeAtLocation(/** @type {never} */ (first.argument))
        // What only replaces a property that is there adds none.
        const replaces = rest.every((property) => {
          if (property.type !== 'Property' || property.key.type !== 'Identifier' || property.computed)
            return false
          const known = spread.getProperty(property.key.name)
          return known !== undefined && (known.flags & OPTIONAL) === 0
        })
        if (!replaces) context.report({ node, messageId: 'spread' })
      },
    }
  },
}

/** `SymbolFlags.Optional` of TypeScript. */
const OPTIONAL = 16_777_216
