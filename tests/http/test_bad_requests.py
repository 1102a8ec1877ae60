"""What is wrong with a request is said in the API's words, and changes nothing."""

# ruff: noqa: E501 - a row of a table is a line

import json

import pytest

A = {"assistant_id": "asst_unknown"}
RUNS = "/v1/threads/thread_unknown/runs"
RUN = f"{RUNS}/run_unknown"
MESSAGES = "/v1/threads/thread_unknown/messages"
LIST = "/v1/assistants"
STORES, STORE = "/v1/vector_stores", "/v1/vector_stores/vs_unknown"


def function(**values):
    return {"tools": [{"type": "function", "function": values}]}


def chunks(size, overlap):
    sizes = {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}
    return {"chunking_strategy": {"type": "static", "static": sizes}}


def filtered(condition):
    return {"query": "a", "filters": condition}


def search(**values):
    return {"tools": [{"type": "file_search", "file_search": values}]}


def message(**values):
    return {"messages": [{"role": "user", "content": "Hi", **values}]}


BAD_BODIES = [
    ("/v1/assistants", {}, "Missing required parameter: 'model'.", "model", "missing_required_parameter"),
    ("/v1/assistants", {"model": 5}, "Invalid type for 'model': expected a string, but got an integer instead.", "model", "invalid_type"),
    ("/v1/assistants", {"model": "m", "foo": 1}, "Unknown parameter: 'foo'.", "foo", "unknown_parameter"),
    ("/v1/assistants", {"model": "m", "name": "x" * 257}, "Invalid 'name': string too long. Expected a string with maximum length 256, but got a string with length 257 instead.", "name", "string_above_max_length"),
    ("/v1/assistants", {"model": "m", "tools": {}}, "Invalid type for 'tools': expected an array of objects, but got an object instead.", "tools", "invalid_type"),
    ("/v1/assistants", {"model": "m", "tools": [5]}, "Invalid type for 'tools[0]': expected an object, but got an integer instead.", "tools[0]", "invalid_type"),
    ("/v1/assistants", {"model": "m", "tools": [{}]}, "Missing required parameter: 'tools[0].type'.", "tools[0].type", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", "tools": [{"type": "retrieval"}]}, "Invalid value: 'retrieval'. Supported values are: 'function', 'code_interpreter', and 'file_search'.", "tools[0].type", "invalid_value"),
    ("/v1/assistants", {"model": "m", "tools": [{"type": "function"}]}, "Missing required parameter: 'tools[0].function'.", "tools[0].function", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", **function()}, "Missing required parameter: 'tools[0].function.name'.", "tools[0].function.name", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", **function(name="a b")}, "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", "tools[0].function.name", "invalid_value"),
    ("/v1/assistants", {"model": "m", **function(name="a", x=1)}, "Unknown parameter: 'tools[0].function.x'.", "tools[0].function.x", "unknown_parameter"),
    ("/v1/assistants", {"model": "m", "tools": [{"type": "code_interpreter"}] * 129}, "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 129 instead.", "tools", "array_above_max_length"),
    ("/v1/assistants", {"model": "m", "temperature": 3}, "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.", "temperature", "decimal_above_max_value"),
    ("/v1/assistants", {"model": "m", "top_p": -0.5}, "Invalid 'top_p': decimal below minimum value. Expected a value >= 0, but got -0.5 instead.", "top_p", "decimal_below_min_value"),
    ("/v1/assistants", {"model": "m", "temperature": "hot"}, "Invalid type for 'temperature': expected a decimal, but got a string instead.", "temperature", "invalid_type"),
    ("/v1/assistants", {"model": "m", "response_format": {"type": "xml"}}, "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.", "response_format.type", "invalid_value"),
    ("/v1/assistants", {"model": "m", "response_format": 5}, "Invalid type for 'response_format': expected one of a string or object, but got an integer instead.", "response_format", "invalid_type"),
    ("/v1/assistants", {"model": "m", "tool_resources": {"code_interpreter": {"file_ids": "f"}}}, "Invalid type for 'tool_resources.code_interpreter.file_ids': expected an array of strings, but got a string instead.", "tool_resources.code_interpreter.file_ids", "invalid_type"),
    ("/v1/threads", {"metadata": {"modified": True}}, "Invalid type for 'metadata.modified': expected a string, but got a boolean instead.", "metadata.modified", "invalid_type"),
    ("/v1/threads", {"metadata": {"k" * 65: "v"}}, "Invalid 'metadata': property name too long. Expected a property name with maximum length 64, but got one with length 65 instead.", "metadata", "string_above_max_length"),
    ("/v1/threads", {"metadata": {"k": "v" * 513}}, "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, but got a string with length 513 instead.", "metadata.k", "string_above_max_length"),
    ("/v1/threads", {"metadata": {str(n): "" for n in range(17)}}, "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object with 17 properties instead.", "metadata", "object_above_max_properties"),
    ("/v1/threads", message(content=""), "Invalid 'messages[0].content': empty string. Expected a string with minimum length 1, but got an empty string instead.", "messages[0].content", "empty_string"),
    ("/v1/threads", message(content=[]), "Invalid 'messages[0].content': empty array. Expected an array with minimum length 1, but got an empty array instead.", "messages[0].content", "empty_array"),
    ("/v1/threads", message(content={}), "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an object instead.", "messages[0].content", "invalid_type"),
    ("/v1/threads", message(content=[{"type": "text", "text": 5}]), "Invalid type for 'messages[0].content[0].text': expected a string, but got an integer instead.", "messages[0].content[0].text", "invalid_type"),
    ("/v1/threads", message(content=[{"type": "audio"}]), "Invalid value: 'audio'. Supported values are: 'text', 'image_url', and 'image_file'.", "messages[0].content[0].type", "invalid_value"),
    ("/v1/threads", message(content=None), "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got null instead.", "messages[0].content", "invalid_type"),
    ("/v1/threads", [1], "Invalid body: expected an object, but got an array instead.", None, "invalid_type"),
    (MESSAGES, {"role": "system", "content": "x"}, "Invalid value: 'system'. Supported values are: 'user' and 'assistant'.", "role", "invalid_value"),
    (MESSAGES, {"role": "user"}, "Missing required parameter: 'content'.", "content", "missing_required_parameter"),
    (RUNS, {}, "Missing required parameter: 'assistant_id'.", "assistant_id", "missing_required_parameter"),
    (RUNS, {"assistant_id": "undefined"}, "Invalid 'assistant_id': 'undefined'. Expected an ID that begins with 'asst'.", "assistant_id", "invalid_value"),
    (RUNS, {**A, "tool_choice": "sometimes"}, "Invalid value: 'sometimes'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice", "invalid_value"),
    (RUNS, {**A, "tool_choice": {"type": "function"}}, "Missing required parameter: 'tool_choice.function'.", "tool_choice.function", "missing_required_parameter"),
    (RUNS, {**A, "tool_choice": 5}, "Invalid type for 'tool_choice': expected one of a string or object, but got an integer instead.", "tool_choice", "invalid_type"),
    (RUNS, {**A, "max_prompt_tokens": 0}, "Invalid 'max_prompt_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead.", "max_prompt_tokens", "integer_below_min_value"),
    (RUNS, {**A, "max_completion_tokens": 2**70}, f"Invalid 'max_completion_tokens': integer above maximum value. Expected a value <= 2147483647, but got {2**70} instead.", "max_completion_tokens", "integer_above_max_value"),
    (RUNS, {**A, "max_prompt_tokens": 1.5}, "Invalid type for 'max_prompt_tokens': expected an integer, but got a decimal instead.", "max_prompt_tokens", "invalid_type"),
    (RUNS, {**A, "truncation_strategy": {"type": "last_messages"}}, "Missing required parameter: 'truncation_strategy.last_messages'.", "truncation_strategy.last_messages", "missing_required_parameter"),
    (RUNS, {**A, "parallel_tool_calls": "yes"}, "Invalid type for 'parallel_tool_calls': expected a boolean, but got a string instead.", "parallel_tool_calls", "invalid_type"),
    ("/v1/threads/runs", {**A, "thread": {"foo": 1}}, "Unknown parameter: 'thread.foo'.", "thread.foo", "unknown_parameter"),
    ("/v1/threads/runs", {**A, "additional_messages": []}, "Unknown parameter: 'additional_messages'.", "additional_messages", "unknown_parameter"),
    ("/v1/threads/runs", {**A, "additional_instructions": "x"}, "Unknown parameter: 'additional_instructions'.", "additional_instructions", "unknown_parameter"),
    ("/v1/threads/runs", {**A, "reasoning_effort": "low"}, "Unknown parameter: 'reasoning_effort'.", "reasoning_effort", "unknown_parameter"),
    ("/v1/threads/runs", {**A, "thread": {"messages": [{"role": "user", "content": ""}]}}, "Invalid 'thread.messages[0].content': empty string. Expected a string with minimum length 1, but got an empty string instead.", "thread.messages[0].content", "empty_string"),
    ("/v1/threads/runs", {**A, "tool_resources": {"code_interpreter": {"file_ids": ["f"] * 21}}}, "Invalid 'tool_resources.code_interpreter.file_ids': array too long. Expected an array with maximum length 20, but got an array with length 21 instead.", "tool_resources.code_interpreter.file_ids", "array_above_max_length"),
    ("/v1/assistants/asst_x", {"model": None}, "Invalid type for 'model': expected a string, but got null instead.", "model", "invalid_type"),
    ("/v1/assistants/asst_x", {"id": "asst_y"}, "Unknown parameter: 'id'.", "id", "unknown_parameter"),
    ("/v1/assistants", {"model": ""}, "Invalid 'model': empty string. Expected a string with minimum length 1, but got an empty string instead.", "model", "empty_string"),
    ("/v1/assistants", {"model": "m", "description": "x" * 513}, "Invalid 'description': string too long. Expected a string with maximum length 512, but got a string with length 513 instead.", "description", "string_above_max_length"),
    ("/v1/assistants", {"model": "m", "instructions": "x" * 256_001}, "Invalid 'instructions': string too long. Expected a string with maximum length 256000, but got a string with length 256001 instead.", "instructions", "string_above_max_length"),
    ("/v1/assistants", {"model": "m", "name": []}, "Invalid type for 'name': expected a string, but got an array instead.", "name", "invalid_type"),
    ("/v1/assistants", {"model": "m", "metadata": []}, "Invalid type for 'metadata': expected an object, but got an array instead.", "metadata", "invalid_type"),
    ("/v1/assistants", {"model": "m", "reasoning_effort": "huge"}, "Invalid value: 'huge'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.", "reasoning_effort", "invalid_value"),
    ("/v1/assistants", {"model": "m", "response_format": {"type": "json_schema"}}, "Missing required parameter: 'response_format.json_schema'.", "response_format.json_schema", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", "response_format": {"type": "json_schema", "json_schema": {}}}, "Missing required parameter: 'response_format.json_schema.name'.", "response_format.json_schema.name", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", "response_format": "json"}, "Invalid value: 'json'. Supported values are: 'auto'.", "response_format", "invalid_value"),
    ("/v1/assistants", {"model": "m", **function(name="")}, "Invalid 'tools[0].function.name': empty string. Expected a string with minimum length 1, but got an empty string instead.", "tools[0].function.name", "empty_string"),
    ("/v1/assistants", {"model": "m", **function(name="x" * 65)}, "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a string with length 65 instead.", "tools[0].function.name", "string_above_max_length"),
    ("/v1/assistants", {"model": "m", **function(name="x", parameters=[])}, "Invalid type for 'tools[0].function.parameters': expected an object, but got an array instead.", "tools[0].function.parameters", "invalid_type"),
    ("/v1/assistants", {"model": "m", **function(name="x", strict="yes")}, "Invalid type for 'tools[0].function.strict': expected a boolean, but got a string instead.", "tools[0].function.strict", "invalid_type"),
    ("/v1/assistants", {"model": "m", **search(max_num_results=51)}, "Invalid 'tools[0].file_search.max_num_results': integer above maximum value. Expected a value <= 50, but got 51 instead.", "tools[0].file_search.max_num_results", "integer_above_max_value"),
    ("/v1/assistants", {"model": "m", **search(max_num_results=0)}, "Invalid 'tools[0].file_search.max_num_results': integer below minimum value. Expected a value >= 1, but got 0 instead.", "tools[0].file_search.max_num_results", "integer_below_min_value"),
    ("/v1/assistants", {"model": "m", **search(ranking_options={})}, "Missing required parameter: 'tools[0].file_search.ranking_options.score_threshold'.", "tools[0].file_search.ranking_options.score_threshold", "missing_required_parameter"),
    ("/v1/assistants", {"model": "m", **search(ranking_options={"score_threshold": 1.5})}, "Invalid 'tools[0].file_search.ranking_options.score_threshold': decimal above maximum value. Expected a value <= 1, but got 1.5 instead.", "tools[0].file_search.ranking_options.score_threshold", "decimal_above_max_value"),
    ("/v1/assistants", {"model": "m", **search(ranking_options={"score_threshold": 0, "ranker": "best"})}, "Invalid value: 'best'. Supported values are: 'auto' and 'default_2024_08_21'.", "tools[0].file_search.ranking_options.ranker", "invalid_value"),
    ("/v1/assistants", {"model": "m", **search(rank=1)}, "Unknown parameter: 'tools[0].file_search.rank'.", "tools[0].file_search.rank", "unknown_parameter"),
    ("/v1/assistants", {"model": "m", "tool_resources": {"file_search": {"vector_store_ids": ["a", "b"]}}}, "Invalid 'tool_resources.file_search.vector_store_ids': array too long. Expected an array with maximum length 1, but got an array with length 2 instead.", "tool_resources.file_search.vector_store_ids", "array_above_max_length"),
    ("/v1/assistants", {"model": "m", "tool_resources": {"browser": {}}}, "Unknown parameter: 'tool_resources.browser'.", "tool_resources.browser", "unknown_parameter"),
    ("/v1/threads", message(content=[{"type": "image_url", "image_url": {"url": "cat.png"}}]), "Invalid 'messages[0].content[0].image_url.url'. Expected a valid URL, but got a value with an invalid format.", "messages[0].content[0].image_url.url", "invalid_value"),
    ("/v1/threads", message(content=[{"type": "image_url", "image_url": {"url": "https://a.b/c", "detail": "best"}}]), "Invalid value: 'best'. Supported values are: 'auto', 'low', and 'high'.", "messages[0].content[0].image_url.detail", "invalid_value"),
    ("/v1/threads", message(content=[{"type": "image_file", "image_file": {}}]), "Missing required parameter: 'messages[0].content[0].image_file.file_id'.", "messages[0].content[0].image_file.file_id", "missing_required_parameter"),
    ("/v1/threads", message(content=[{"text": "Hi"}]), "Missing required parameter: 'messages[0].content[0].type'.", "messages[0].content[0].type", "missing_required_parameter"),
    ("/v1/threads", message(content="x" * 256_001), "Invalid 'messages[0].content': string too long. Expected a string with maximum length 256000, but got a string with length 256001 instead.", "messages[0].content", "string_above_max_length"),
    ("/v1/threads", message(attachments=[{"tools": []}]), "Missing required parameter: 'messages[0].attachments[0].file_id'.", "messages[0].attachments[0].file_id", "missing_required_parameter"),
    ("/v1/threads", message(attachments=[{"file_id": "f", "tools": [{"type": "function"}]}]), "Invalid value: 'function'. Supported values are: 'code_interpreter' and 'file_search'.", "messages[0].attachments[0].tools[0].type", "invalid_value"),
    ("/v1/threads", {"messages": "Hi"}, "Invalid type for 'messages': expected an array of objects, but got a string instead.", "messages", "invalid_type"),
    (f"{MESSAGES}/msg_x", {"content": "x"}, "Unknown parameter: 'content'.", "content", "unknown_parameter"),
    (MESSAGES, {"role": "user", "content": "Hi", "file_ids": []}, "Unknown parameter: 'file_ids'.", "file_ids", "unknown_parameter"),
    (RUN, {"status": "completed"}, "Unknown parameter: 'status'.", "status", "unknown_parameter"),
    (RUNS, {**A, "stream": "yes"}, "Invalid type for 'stream': expected a boolean, but got a string instead.", "stream", "invalid_type"),
    (RUNS, {**A, "tool_choice": {"type": "function", "function": {}}}, "Missing required parameter: 'tool_choice.function.name'.", "tool_choice.function.name", "missing_required_parameter"),
    (RUNS, {**A, "tool_choice": {"type": "magic"}}, "Invalid value: 'magic'. Supported values are: 'function', 'code_interpreter', and 'file_search'.", "tool_choice.type", "invalid_value"),
    (RUNS, {**A, "truncation_strategy": {"type": "middle"}}, "Invalid value: 'middle'. Supported values are: 'auto' and 'last_messages'.", "truncation_strategy.type", "invalid_value"),
    (RUNS, {**A, "truncation_strategy": {"type": "last_messages", "last_messages": 0}}, "Invalid 'truncation_strategy.last_messages': integer below minimum value. Expected a value >= 1, but got 0 instead.", "truncation_strategy.last_messages", "integer_below_min_value"),
    (RUNS, {**A, "additional_messages": [{"role": "user"}]}, "Missing required parameter: 'additional_messages[0].content'.", "additional_messages[0].content", "missing_required_parameter"),
    (RUNS, {**A, "tool_resources": {}}, "Unknown parameter: 'tool_resources'.", "tool_resources", "unknown_parameter"),
    (RUNS, {**A, "thread": {}}, "Unknown parameter: 'thread'.", "thread", "unknown_parameter"),
    (f"{RUNS}?include[]=everything", A, "Invalid value: 'everything'. Supported values are: 'step_details.tool_calls[*].file_search.results[*].content'.", "include[0]", "invalid_value"),
    (f"{RUN}/submit_tool_outputs", {}, "Missing required parameter: 'tool_outputs'.", "tool_outputs", "missing_required_parameter"),
    (f"{RUN}/submit_tool_outputs", {"tool_outputs": [{"tool_call_id": "c", "output": {}}]}, "Invalid type for 'tool_outputs[0].output': expected a string, but got an object instead.", "tool_outputs[0].output", "invalid_type"),
    (f"{RUN}/submit_tool_outputs", {"tool_outputs": [{"output": "x"}]}, "Missing required parameter: 'tool_outputs[0].tool_call_id'.", "tool_outputs[0].tool_call_id", "missing_required_parameter"),
    (STORES, {"name": 5}, "Invalid type for 'name': expected a string, but got an integer instead.", "name", "invalid_type"),
    (STORES, {"files": []}, "Unknown parameter: 'files'.", "files", "unknown_parameter"),
    (STORES, {"file_ids": "f"}, "Invalid type for 'file_ids': expected an array of strings, but got a string instead.", "file_ids", "invalid_type"),
    (STORES, {"file_ids": ["file-x"] * 501}, "Invalid 'file_ids': array too long. Expected an array with maximum length 500, but got an array with length 501 instead.", "file_ids", "array_above_max_length"),
    (STORES, {"expires_after": {"anchor": "created_at", "days": 1}}, "Invalid value: 'created_at'. Supported values are: 'last_active_at'.", "expires_after.anchor", "invalid_value"),
    (STORES, {"expires_after": {"anchor": "last_active_at", "days": 366}}, "Invalid 'expires_after.days': integer above maximum value. Expected a value <= 365, but got 366 instead.", "expires_after.days", "integer_above_max_value"),
    (STORES, {"expires_after": {"anchor": "last_active_at", "days": 0}}, "Invalid 'expires_after.days': integer below minimum value. Expected a value >= 1, but got 0 instead.", "expires_after.days", "integer_below_min_value"),
    (STORES, {"chunking_strategy": {}}, "Missing required parameter: 'chunking_strategy.type'.", "chunking_strategy.type", "missing_required_parameter"),
    (STORES, {"chunking_strategy": {"type": "semantic"}}, "Invalid value: 'semantic'. Supported values are: 'auto' and 'static'.", "chunking_strategy.type", "invalid_value"),
    (STORES, {"chunking_strategy": {"type": "auto", "static": {}}}, "Unknown parameter: 'chunking_strategy.static'.", "chunking_strategy.static", "unknown_parameter"),
    (STORES, {"chunking_strategy": {"type": "static"}}, "Missing required parameter: 'chunking_strategy.static'.", "chunking_strategy.static", "missing_required_parameter"),
    (STORES, chunks(99, 0), "Invalid 'chunking_strategy.static.max_chunk_size_tokens': integer below minimum value. Expected a value >= 100, but got 99 instead.", "chunking_strategy.static.max_chunk_size_tokens", "integer_below_min_value"),
    (STORES, chunks(4097, 0), "Invalid 'chunking_strategy.static.max_chunk_size_tokens': integer above maximum value. Expected a value <= 4096, but got 4097 instead.", "chunking_strategy.static.max_chunk_size_tokens", "integer_above_max_value"),
    (STORES, chunks(100, 51), "Invalid value for 'chunking_strategy.static': 'chunk_overlap_tokens' must not exceed half of 'max_chunk_size_tokens'.", "chunking_strategy.static", "invalid_value"),
    (STORES, chunks(100, -1), "Invalid 'chunking_strategy.static.chunk_overlap_tokens': integer below minimum value. Expected a value >= 0, but got -1 instead.", "chunking_strategy.static.chunk_overlap_tokens", "integer_below_min_value"),
    (f"{STORE}/files", {}, "Missing required parameter: 'file_id'.", "file_id", "missing_required_parameter"),
    (f"{STORE}/files", {"file_id": "file-x", "attributes": {"k": None}}, "Invalid type for 'attributes.k': expected one of a string, number or boolean, but got null instead.", "attributes.k", "invalid_type"),
    (f"{STORE}/files", {"file_id": "file-x", "attributes": {"k": "v" * 513}}, "Invalid 'attributes.k': string too long. Expected a string with maximum length 512, but got a string with length 513 instead.", "attributes.k", "string_above_max_length"),
    (f"{STORE}/files", {"file_id": "file-x", "attributes": {"k" * 65: 1}}, "Invalid 'attributes': property name too long. Expected a property name with maximum length 64, but got one with length 65 instead.", "attributes", "string_above_max_length"),
    (f"{STORE}/files", {"file_id": "file-x", "attributes": {str(n): n for n in range(17)}}, "Invalid 'attributes': too many properties. Expected an object with at most 16 properties, but got an object with 17 properties instead.", "attributes", "object_above_max_properties"),
    (f"{STORE}/files/file-x", {}, "Missing required parameter: 'attributes'.", "attributes", "missing_required_parameter"),
    (f"{STORE}/file_batches", {}, "Exactly one of 'file_ids' and 'files' must be given.", "file_ids", "invalid_value"),
    (f"{STORE}/file_batches", {"file_ids": ["file-x"], "files": [{"file_id": "file-x"}]}, "Exactly one of 'file_ids' and 'files' must be given.", "file_ids", "invalid_value"),
    (f"{STORE}/file_batches", {"file_ids": []}, "Invalid 'file_ids': empty array. Expected an array with minimum length 1, but got an empty array instead.", "file_ids", "empty_array"),
    (f"{STORE}/file_batches", {"files": [{}]}, "Missing required parameter: 'files[0].file_id'.", "files[0].file_id", "missing_required_parameter"),
    (f"{STORE}/file_batches", {"file_ids": ["file-x"] * 2001}, "Invalid 'file_ids': array too long. Expected an array with maximum length 2000, but got an array with length 2001 instead.", "file_ids", "array_above_max_length"),
    (f"{STORE}/search", {}, "Missing required parameter: 'query'.", "query", "missing_required_parameter"),
    (f"{STORE}/search", {"query": 5}, "Invalid type for 'query': expected one of a string or array of strings, but got an integer instead.", "query", "invalid_type"),
    (f"{STORE}/search", {"query": ["a", 5]}, "Invalid type for 'query[1]': expected a string, but got an integer instead.", "query[1]", "invalid_type"),
    (f"{STORE}/search", {"query": []}, "Invalid 'query': empty array. Expected an array with minimum length 1, but got an empty array instead.", "query", "empty_array"),
    (f"{STORE}/search", {"query": "a", "max_num_results": 51}, "Invalid 'max_num_results': integer above maximum value. Expected a value <= 50, but got 51 instead.", "max_num_results", "integer_above_max_value"),
    (f"{STORE}/search", {"query": "a", "max_num_results": 0}, "Invalid 'max_num_results': integer below minimum value. Expected a value >= 1, but got 0 instead.", "max_num_results", "integer_below_min_value"),
    (f"{STORE}/search", {"query": "a", "ranking_options": {"ranker": "best"}}, "Invalid value: 'best'. Supported values are: 'none', 'auto', and 'default-2024-11-15'.", "ranking_options.ranker", "invalid_value"),
    (f"{STORE}/search", {"query": "a", "ranking_options": {"score_threshold": 1.5}}, "Invalid 'ranking_options.score_threshold': decimal above maximum value. Expected a value <= 1, but got 1.5 instead.", "ranking_options.score_threshold", "decimal_above_max_value"),
    (f"{STORE}/search", filtered({"type": "like", "key": "a", "value": "b"}), "Invalid value: 'like'. Supported values are: 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'and', and 'or'.", "filters.type", "invalid_value"),
    (f"{STORE}/search", filtered({"type": "eq", "value": "b"}), "Missing required parameter: 'filters.key'.", "filters.key", "missing_required_parameter"),
    (f"{STORE}/search", filtered({"type": "eq", "key": "a", "value": {}}), "Invalid type for 'filters.value': expected one of a string, number, boolean or array of these, but got an object instead.", "filters.value", "invalid_type"),
    (f"{STORE}/search", filtered({"type": "and", "filters": [{"type": "or", "filters": [{"type": "eq", "key": 1, "value": 1}]}]}), "Invalid type for 'filters.filters[0].filters[0].key': expected a string, but got an integer instead.", "filters.filters[0].filters[0].key", "invalid_type"),
    (f"{STORE}/search", filtered({"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}] * 256}), "Invalid value for 'filters': more than 256 comparisons.", "filters", "invalid_value"),
    ("/v1/threads", {"tool_resources": {"file_search": {"vector_stores": [{}, {}]}}}, "Invalid 'tool_resources.file_search.vector_stores': array too long. Expected an array with maximum length 1, but got an array with length 2 instead.", "tool_resources.file_search.vector_stores", "array_above_max_length"),
    ("/v1/threads/thread_unknown", {"tool_resources": {"file_search": {"vector_stores": [{}]}}}, "Unknown parameter: 'tool_resources.file_search.vector_stores'.", "tool_resources.file_search.vector_stores", "unknown_parameter"),
]  # fmt: skip

NOT_FOUND = [
    ("GET", "/v1/assistants/asst_unknown", "No assistant found with id 'asst_unknown'."),
    ("POST", "/v1/assistants/asst_unknown", "No assistant found with id 'asst_unknown'."),
    ("DELETE", "/v1/assistants/asst_unknown", "No assistant found with id 'asst_unknown'."),
    ("GET", "/v1/threads/thread_unknown", "No thread found with id 'thread_unknown'."),
    ("POST", "/v1/threads/thread_unknown", "No thread found with id 'thread_unknown'."),
    ("DELETE", "/v1/threads/thread_unknown", "No thread found with id 'thread_unknown'."),
    ("GET", MESSAGES, "No thread found with id 'thread_unknown'."),
    ("GET", "/v1/threads/THREAD/messages/msg_unknown", "No message found with id 'msg_unknown'."),
    ("GET", RUNS, "No thread found with id 'thread_unknown'."),
    ("GET", RUN, "No thread found with id 'thread_unknown'."),
    ("GET", "/v1/threads/THREAD/runs/run_unknown", "No run found with id 'run_unknown'."),
    ("POST", "/v1/threads/THREAD/runs/run_unknown/cancel", "No run found with id 'run_unknown'."),
    ("GET", "/v1/threads/THREAD/runs/run_unknown/steps", "No run found with id 'run_unknown'."),
    ("GET", "/v1/files/file-unknown", "No such File object: file-unknown"),
    ("GET", STORE, "No vector store found with id 'vs_unknown'."),
    ("POST", STORE, "No vector store found with id 'vs_unknown'."),
    ("DELETE", STORE, "No vector store found with id 'vs_unknown'."),
    ("GET", f"{STORE}/files/file-unknown", "No vector store found with id 'vs_unknown'."),
    (
        "GET",
        "/v1/vector_stores/STORE/files/file-unknown",
        "No file found with id 'file-unknown' in vector store 'STORE'.",
    ),
    (
        "DELETE",
        "/v1/vector_stores/STORE/files/file-unknown",
        "No file found with id 'file-unknown' in vector store 'STORE'.",
    ),
    (
        "GET",
        "/v1/vector_stores/STORE/file_batches/vsfb_unknown",
        "No file batch found with id 'vsfb_unknown' in vector store 'STORE'.",
    ),
    ("GET", "/v1/foo", "Invalid URL (GET /v1/foo)"),
    ("GET", "/nowhere/", "Invalid URL (GET /nowhere/)"),
]

BAD_QUERIES = [
    (f"{LIST}?limit=0", "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.", "limit", "integer_below_min_value"),
    (f"{LIST}?limit=101", "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.", "limit", "integer_above_max_value"),
    (f"{LIST}?limit=ten", "Invalid type for 'limit': expected an integer, but got a string instead.", "limit", "invalid_type"),
    (f"{LIST}?order=up", "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.", "order", "invalid_value"),
    (f"{LIST}?after=undefined", "Invalid 'after': 'undefined'. Expected an ID that begins with 'asst'.", "after", "invalid_value"),
    ("/v1/files?limit=10001", "Invalid 'limit': integer above maximum value. Expected a value <= 10000, but got 10001 instead.", "limit", "integer_above_max_value"),
    (f"{RUN}/steps?include[]=x", "Invalid value: 'x'. Supported values are: 'step_details.tool_calls[*].file_search.results[*].content'.", "include[0]", "invalid_value"),
    (f"{RUN}/steps/step_x?include=x", "Invalid value: 'x'. Supported values are: 'step_details.tool_calls[*].file_search.results[*].content'.", "include[0]", "invalid_value"),
    (f"{LIST}?limit=", "Invalid type for 'limit': expected an integer, but got a string instead.", "limit", "invalid_type"),
    (f"{LIST}?before=msg_1", "Invalid 'before': 'msg_1'. Expected an ID that begins with 'asst'.", "before", "invalid_value"),
    (f"{MESSAGES}?run_id=null", "Invalid 'run_id': 'null'. Expected an ID that begins with 'run'.", "run_id", "invalid_value"),
    (f"{STORE}/files?filter=done", "Invalid value: 'done'. Supported values are: 'in_progress', 'completed', 'failed', and 'cancelled'.", "filter", "invalid_value"),
    (f"{STORE}/files?after=vs_x", "Invalid 'after': 'vs_x'. Expected an ID that begins with 'file'.", "after", "invalid_value"),
    ("/v1/vector_stores/undefined", "Invalid 'vector_store_id': 'undefined'. Expected an ID that begins with 'vs'.", "vector_store_id", "invalid_value"),
    (f"{STORE}/file_batches/undefined", "Invalid 'batch_id': 'undefined'. Expected an ID that begins with 'vsfb'.", "batch_id", "invalid_value"),
    ("/v1/threads/undefined", "Invalid 'thread_id': 'undefined'. Expected an ID that begins with 'thread'.", "thread_id", "invalid_value"),
    (f"{RUNS}/undefined", "Invalid 'run_id': 'undefined'. Expected an ID that begins with 'run'.", "run_id", "invalid_value"),
    (f"{RUN}/steps/undefined", "Invalid 'step_id': 'undefined'. Expected an ID that begins with 'step'.", "step_id", "invalid_value"),
    (f"{MESSAGES}/undefined", "Invalid 'message_id': 'undefined'. Expected an ID that begins with 'msg'.", "message_id", "invalid_value"),
    ("/v1/runs/run_x/events?after=-1", "Invalid 'after': integer below minimum value. Expected a value >= 0, but got -1 instead.", "after", "integer_below_min_value"),
]  # fmt: skip


@pytest.fixture
async def store_id(client):
    return (await client.vector_stores.create()).id


@pytest.mark.parametrize(("path", "body", "text", "param", "code"), BAD_BODIES)
async def test_a_bad_body_is_refused_with_the_place_that_is_wrong(http, path, body, text, param, code):
    answer = await http.post(path, json=body)

    expected = {"message": text, "type": "invalid_request_error", "param": param, "code": code}
    assert (answer.status_code, answer.json()) == (400, {"error": expected})


@pytest.mark.parametrize(("path", "text", "param", "code"), BAD_QUERIES)
async def test_a_bad_path_or_query_is_refused(http, path, text, param, code):
    answer = await http.get(path)

    expected = {"message": text, "type": "invalid_request_error", "param": param, "code": code}
    assert (answer.status_code, answer.json()) == (400, {"error": expected})


@pytest.mark.parametrize(("method", "path", "text"), NOT_FOUND)
async def test_what_does_not_exist_is_said_to_be_missing(http, thread, store_id, method, path, text):
    sent = {"json": {}} if method == "POST" else {}
    answer = await http.request(method, path.replace("THREAD", thread.id).replace("STORE", store_id), **sent)

    error = answer.json()["error"]
    expected = (404, text.replace("STORE", store_id), "invalid_request_error")
    assert (answer.status_code, error["message"], error["type"]) == expected


@pytest.mark.parametrize("body", [b"{", b"model=m", b'{"model": NaN}', b'{"model": "\\ud800"}', b"\xff", b"[" * 5000])
async def test_a_body_that_is_not_json_is_refused(http, body):
    answer = await http.post("/v1/assistants", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("We could not parse the JSON body of your request.")


async def test_a_body_of_another_type_is_refused(http):
    answer = await http.post("/v1/threads", content=b"{}", headers={"content-type": "text/plain"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_content_type")
    assert answer.json()["error"]["message"].startswith("Unsupported content type: 'text/plain'.")
    for fine in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"):
        assert (await http.post("/v1/threads", content=b"{}", headers={"content-type": fine})).status_code == 200


async def test_a_body_may_be_left_out_only_where_the_description_allows_it(http, thread):
    answer = await http.post(f"/v1/threads/{thread.id}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("We could not parse the JSON body of your request.")

    answer = await http.post("/v1/assistants")
    assert answer.json()["error"]["message"] == "Missing required parameter: 'model'."
    assert (await http.post("/v1/threads")).status_code == 200


async def test_text_about_numbers_is_no_number(http):
    answer = await http.post("/v1/assistants", json={"model": "m", "name": "NaN and Infinity"})

    assert (answer.status_code, answer.json()["name"]) == (200, "NaN and Infinity")


async def test_a_method_that_a_path_does_not_take_is_refused_with_those_it_takes(http):
    answer = await http.put("/v1/threads/thread_x")

    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")
    assert answer.json()["error"]["message"] == "Not allowed to PUT on /v1/threads/thread_x."


async def test_a_body_that_is_too_large_is_refused(http):
    too_large = json.dumps({"model": "m", "instructions": "x" * 17_000_000}).encode()

    async def in_pieces():
        yield too_large[:1000]
        yield too_large[1000:]

    for content in (too_large, in_pieces()):
        answer = await http.post("/v1/assistants", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "Maximum content size limit (16777216) exceeded."


async def test_the_beta_header_is_asked_for_where_the_api_does(http):
    for path in ("/v1/assistants", "/openai/threads", "/threads/thread_x/runs"):
        answer = await http.get(path, headers={"openai-beta": "assistants=v1"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_beta")
        assert answer.json()["error"]["message"] == (
            "You must provide the 'OpenAI-Beta' header to access the Assistants API. "
            "Please try again by setting the header 'OpenAI-Beta: assistants=v2'."
        )
    assert (await http.get("/v1/files", headers={"openai-beta": ""})).status_code == 200
    azure = await http.get("/openai/assistants?api-version=2024-05-01-preview", headers={"openai-beta": ""})
    assert azure.status_code == 200
