# SPDX-License-Identifier: Apache-2.0
"""sentence-transformers as a peer of bench/compare_embed: run by an interpreter that has it; prints one line of JSON.

  PYTHON sentence_peer.py MODEL_FOLDER PLAN    (PLAN: the JSON that bench/compare_embed gives)"""
import json
import sys
import time


def main():
    import sentence_transformers
    import torch
    folder, plan = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(plan["threads"])
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    texts, batch = plan["texts"], plan["batch"]

    def seconds(some, size):
        """Of calls with `size` texts each."""
        began = time.monotonic()
        for at in range(0, len(some) - size + 1, size):
            model.encode(some[at:at + size], batch_size=size, show_progress_bar=False)
        return time.monotonic() - began

    seconds(plan["warm"], 1)
    alone = seconds(texts, 1)
    seconds(plan["warm"], batch)
    figures = {"alone": len(texts) / alone, "alone ms": alone / len(texts) * 1e3, "batch": len(texts) // batch * batch / seconds(texts, batch)}
    vector = [float(x) for x in model.encode(texts[0])]
    print(json.dumps({"version": f"{sentence_transformers.__version__}, torch {torch.__version__}", "figures": figures, "vector": vector}))


if __name__ == "__main__":
    main()
