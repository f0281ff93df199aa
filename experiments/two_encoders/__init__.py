"""Do two encoders' spaces merge, so that samples find their copies?"""
