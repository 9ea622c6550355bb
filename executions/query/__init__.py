"""The search language: text -> tree -> plan. Pure: nothing here knows where executions are stored."""

from executions.query.cursor import Cursor, Place, Sort, decode_cursor, encode_cursor, parse_sort
from executions.query.grammar import parse
from executions.query.plan import Plan, is_relative, make_plan
from executions.query.suggest import Suggestion, suggestions
from executions.query.tree import Query

__all__ = [
    "Cursor",
    "Place",
    "Plan",
    "Query",
    "Sort",
    "Suggestion",
    "decode_cursor",
    "encode_cursor",
    "is_relative",
    "make_plan",
    "parse",
    "parse_sort",
    "suggestions",
]
