"""The search language: from text to tree.

    query := [ or ]
    or    := and { OR and }
    and   := not { [AND] not }
    not   := { NOT | '-' } ( '(' or ')' | term )
    term  := word | "phrase" | field op value { ',' value } | field ':' low TO high | has ':' field
    field := a name | property '.' key | property ':' key | metric ...
    op    := ':' | '=' | '!=' | '<' | '<=' | '>' | '>=' | '~'      ':' may stand before a comparison
    value := word | word '*' | "quoted" | "quoted"*                \\" and \\\\ inside quotes

Names of fields and AND, OR, NOT, TO are read in any case. Items side by side must all hold, and bind closer than OR.
A comma means "any of these": `status:failed,terminated`; naming a field twice means both, as in `tag:a tag:b`. A range
may be open at one end: `created:* TO 2026-01-31`.
"""

from __future__ import annotations

from executions.errors import InvalidQuery
from executions.query.leaves import read_leaf
from executions.query.scanner import MAX_DEPTH, MAX_LENGTH, Scanner
from executions.query.tree import And, Node, Query, all_of, any_of, negated


def parse(text: str | None) -> Query:
    """Read a query; raises `InvalidQuery`, which says where and what would be understood."""
    text = text or ""
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(f"the query is longer than {MAX_LENGTH} characters", MAX_LENGTH)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidQuery("the query holds a character that cannot be written as UTF-8", error.start) from None
    scanner = Scanner(text)
    if scanner.ended():
        return Query()
    node = _either(scanner, 0)
    if not scanner.ended():
        what = "this parenthesis was not opened" if scanner.here == ")" else f"{scanner.here} is out of place"
        raise InvalidQuery(what, scanner.at)
    return Query(node if isinstance(node, And) else And((node,)))


def _either(text: Scanner, depth: int) -> Node:
    items = [_all(text, depth)]
    while not text.ended():
        at = text.at
        if not text.keyword("OR"):
            break
        _must_follow(text, "OR", at)
        items.append(_all(text, depth))
    return any_of(items)


def _all(text: Scanner, depth: int) -> Node:
    items = [_item(text, depth)]
    while not text.ended() and text.here not in "),":
        at = text.at
        if text.keyword("OR"):
            text.at = at
            break
        if text.keyword("AND"):
            _must_follow(text, "AND", at)
        items.append(_item(text, depth))
    return all_of(items)


def _item(text: Scanner, depth: int) -> Node:
    is_negated, start = False, text.at
    while text.keyword("NOT") or text.sign("-"):
        is_negated = not is_negated
        _must_follow(text, "NOT", start)
    at = text.at
    if text.sign("("):
        node = _group(text, depth + 1, at)
    else:
        for word in ("AND", "OR", "TO"):
            if text.keyword(word):
                raise InvalidQuery(f"{word} is out of place; quote it to look for the word", at)
        node = read_leaf(text)
    return negated(node) if is_negated else node


def _group(text: Scanner, depth: int, at: int) -> Node:
    if depth > MAX_DEPTH:
        raise InvalidQuery(f"parentheses may be nested {MAX_DEPTH} deep", at)
    if text.ended() or text.here == ")":
        raise InvalidQuery("there is nothing between the parentheses", at)
    node = _either(text, depth)
    if text.ended() or not text.sign(")"):
        raise InvalidQuery("the parenthesis is not closed", at)
    return node


def _must_follow(text: Scanner, word: str, at: int) -> None:
    if text.ended() or text.here == ")":
        raise InvalidQuery(f"something must follow {word}", at)
