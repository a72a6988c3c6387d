"""Forward models: how clean text becomes damaged. Repairs are proved with them, the bench measures with them."""
