"""How far the judges of preferences can be trusted: agreement, reliability, and what sways them."""
