"""What a message says, as one text, for APIs whose webhooks know nothing else of it. Pure."""

from kurir.contracts.content import Contact, Content, Edit, List, ListReply, Location, Poll, PollVote, Reaction, Text


def text_of(content: Content) -> str:
    """The words, the caption, the emoji, names and numbers of contacts, a place's coordinates, a poll's question, what
    a list is about, and what was chosen of either."""
    match content:
        case Text(text=text) | Edit(text=text) | Reaction(emoji=text) | Poll(question=text):
            return text
        case List(title=title, text=text):
            return "\n".join(filter(None, (title, text)))
        case ListReply(title=title, row_id=row_id):
            return title or row_id
        case PollVote(options=options):
            return ", ".join(options)
        case Contact(contacts=cards):
            return ", ".join(" ".join((card.name, *card.phones)) for card in cards)
        case Location():
            return coordinates(content)
        case _:
            return getattr(content, "caption", None) or ""


def coordinates(place: Location) -> str:
    """Latitude and longitude in degrees, by a comma."""
    return f"{place.latitude},{place.longitude}"
