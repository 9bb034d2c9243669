"""The dialogue: one Trio task per connection until nothing more needs an await."""
