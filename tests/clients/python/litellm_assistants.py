"""LiteLLM's assistants functions against a running server."""

import litellm


def main() -> None:
    """Create an assistant and a thread, run it, and read the answer."""
    assistant = litellm.create_assistants(custom_llm_provider="openai", model="offline", name="Helper", tools=[])
    listed = litellm.get_assistants(custom_llm_provider="openai")
    assert assistant.id in [found.id for found in listed.data], listed
    thread = litellm.create_thread(custom_llm_provider="openai", messages=[{"role": "user", "content": "Hello"}])
    litellm.add_message(custom_llm_provider="openai", thread_id=thread.id, role="user", content="Hello again")
    run = litellm.run_thread(custom_llm_provider="openai", thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "completed", run
    messages = litellm.get_messages(custom_llm_provider="openai", thread_id=thread.id)
    assert messages.data[0].content[0].text.value.startswith("Offline model"), messages
    said = []
    streamed = litellm.run_thread_stream(custom_llm_provider="openai", thread_id=thread.id, assistant_id=assistant.id)
    with streamed as events:
        said = [event.event for event in events]
    assert said[-1] == "thread.run.completed", said
    assert litellm.delete_assistant(custom_llm_provider="openai", assistant_id=assistant.id).deleted


if __name__ == "__main__":
    main()
    print("litellm: everything went as it should")
