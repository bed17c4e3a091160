"""How people of the synthetic mine are drawn: skeleton, body, head, clothes."""
