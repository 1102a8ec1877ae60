"""Sums that a message asks for, such as "what is 17 * 23", as Python expressions."""

import ast
import re

_ASKED = re.compile(
    r"\b(?:what(?:'s| is| are)|how much(?: is| are)?|calculate|compute|evaluate|work out|result of)\b", re.IGNORECASE
)
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_PERCENT = re.compile(rf"({_NUMBER})\s*(?:%|per ?cent)\s+of\s+({_NUMBER})", re.IGNORECASE)
_ROOT = re.compile(rf"(?:the )?square root of\s+({_NUMBER})", re.IGNORECASE)
_OPERATORS = (
    (re.compile(r"\b(?:multiplied by|times)\b|[\u00d7\u00b7]|(?<=\d)\s*x\s*(?=\d)", re.IGNORECASE), "*"),
    (re.compile(r"\b(?:divided by|over)\b|\u00f7", re.IGNORECASE), "/"),
    (re.compile(r"\bplus\b", re.IGNORECASE), "+"),
    (re.compile(r"\bminus\b|\u2212", re.IGNORECASE), "-"),
    (re.compile(r"\b(?:to the power of)\b|\^", re.IGNORECASE), "**"),
)
_EXPRESSION = re.compile(r"[(\d.][\d.\s()+*/%-]*[\d)]")
_DATE_OR_PHONE = re.compile(r"\d+([-/])\d+\1\d+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")


def calculation(message: str) -> str | None:
    """The sum that a message asks for, as a Python expression of numbers; ``None`` if it asks for none."""
    if not _ASKED.search(message) and not _EXPRESSION.fullmatch(message.strip(" \n=?")):
        return None
    text = _PERCENT.sub(r"(\1 / 100 * \2)", message)
    text = _ROOT.sub(r"(\1) ** 0.5", text)
    for spelled, operator in _OPERATORS:
        text = spelled.sub(f" {operator} ", text)
    text = _DATE_OR_PHONE.sub("", _THOUSANDS.sub("", text))
    found = [tidy for match in _EXPRESSION.finditer(text) if (tidy := _tidied(match.group()))]
    return max(found, key=len, default=None)


def _tidied(text: str) -> str | None:
    """The expression in Python's own spelling; ``None`` unless it does something with numbers."""
    try:
        parsed = ast.parse(" ".join(text.split()), mode="eval").body
    except SyntaxError:
        return None
    allowed = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.unaryop)
    is_sum = isinstance(parsed, ast.BinOp) and all(isinstance(node, allowed) for node in ast.walk(parsed))
    return ast.unparse(parsed) if is_sum else None
