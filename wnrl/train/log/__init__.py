"""What a run writes for people while it trains: TensorBoard, episodes and progress lines.

Nothing reads TensorBoard files or progress lines back.
"""
