"""The API's built-in tools as functions, the form in which every model can call them.

Runs show such calls as calls of the built-in tools; no function of a client has one of these names.
"""

from lockstitch.assistants.model.turn import FunctionTool

CODE_INTERPRETER = FunctionTool(
    name="code_interpreter",
    description=(
        "Run Python code in a session that keeps its state for the whole thread. Files are in /mnt/data; what the code "
        "saves there is given to the user. There is no network. pandas, numpy, matplotlib, scipy, openpyxl and Pillow "
        "are installed. Print what you need to see; figures are shown to the user by plt.show() or by saving them. "
        "Link to a file that you saved as [name](sandbox:/mnt/data/name)."
    ),
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The Python code to run."}},
        "required": ["code"],
        "additionalProperties": False,
    },
)

FILE_SEARCH = FunctionTool(
    name="file_search",
    description=(
        "Look for passages in the files that were uploaded for this assistant and this thread. Each passage comes "
        "under a mark such as 【4:0†notes.txt】; repeat the mark right behind every statement that you take from it."
    ),
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for, in plain words."}},
        "required": ["query"],
        "additionalProperties": False,
    },
)

BUILT_IN = {tool.name: tool for tool in (CODE_INTERPRETER, FILE_SEARCH)}
