"""The two ways of attending from one token a sequence are one function."""

from __future__ import annotations

import torch

from server.engine.attention import attend_by_products, attend_fused


def test_the_fused_way_gives_what_the_products_give() -> None:
    torch.manual_seed(1)
    q, k, v = torch.randn(3, 4, 32), torch.randn(3, 50, 4, 32), torch.randn(3, 50, 4, 32)
    visible = torch.arange(50)[None] < torch.tensor([1, 17, 50])[:, None]
    products = attend_by_products(q, k, v, visible, 32**-0.5)
    torch.testing.assert_close(attend_fused(q, k, v, visible, 32**-0.5), products)
