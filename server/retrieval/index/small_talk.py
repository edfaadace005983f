"""Telling small talk from a question that leans on what was said before: neither names anything.

"Thanks, bye" and "Why?" are alike in words; their vectors are near to different examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.shared import SharedEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What people say without asking for knowledge.
SMALL_TALK = (
    "Good morning", "Good evening, friend", "Good night", "Hello", "Hi there!", "Hey", "Bye for now", "See you soon",
    "Thank you!", "Thanks a lot", "You're welcome", "Nice to meet you", "How are you?", "How are you today?",
    "What's up?", "How was your day?", "Have a nice day", "Have a great weekend", "Okay", "Yes", "No", "Sure, why not",
    "Sounds good", "That's great", "That is funny", "Haha", "Cool", "Wow", "Sorry", "Excuse me", "Please go on",
    "Say that again", "I don't understand", "Never mind", "Wait a moment", "Let's talk", "Do you want to chat?",
    "Can you help me?", "I need your help", "Tell me a joke", "Tell me something nice", "What is your name?",
    "Who are you?", "What can you do?", "How old are you?", "Where do you live?", "Do you have friends?",
    "Do you like music?", "I love you", "I feel sad today", "I am tired", "I'm bored", "I slept badly last night",
    "I had a long day at work", "What should I cook for dinner?", "My dog is sick", "Happy birthday!", "Good luck",
    "Congratulations!", "What do you think?", "That makes no sense", "You are wrong", "I agree with you",
)  # fmt: skip
# The same in other languages, for the floor of an index in one of them.
SMALL_TALK_OF = {
    "de": (
        "Guten Morgen", "Guten Abend", "Gute Nacht", "Hallo", "Hi!", "Tschüss", "Bis bald", "Danke!", "Vielen Dank",
        "Bitte schön", "Wie geht es dir?", "Alles klar?", "Schönes Wochenende", "Okay", "Ja", "Nein", "Klingt gut",
        "Das ist toll", "Haha", "Entschuldigung", "Wie bitte?", "Moment mal", "Kannst du mir helfen?", "Wer bist du?",
        "Erzähl mir einen Witz", "Wie heißt du?", "Was kannst du?", "Ich bin müde", "Mir ist langweilig",
        "Alles Gute zum Geburtstag", "Viel Glück", "Herzlichen Glückwunsch", "Was denkst du?", "Ich mag dich",
    ),
    "fr": (
        "Bonjour", "Bonsoir", "Bonne nuit", "Salut", "Au revoir", "À bientôt", "Merci !", "Merci beaucoup", "De rien",
        "Comment ça va ?", "Quoi de neuf ?", "Bon week-end", "D'accord", "Oui", "Non", "C'est super", "Ha ha",
        "Pardon", "Excusez-moi", "Attends un instant", "Tu peux m'aider ?", "Qui es-tu ?", "Raconte-moi une blague",
        "Comment tu t'appelles ?", "Que sais-tu faire ?", "Je suis fatigué", "Je m'ennuie", "Joyeux anniversaire",
        "Bonne chance", "Félicitations", "Qu'en penses-tu ?", "Je t'aime bien",
    ),
    "es": (
        "Buenos días", "Buenas tardes", "Buenas noches", "Hola", "Adiós", "Hasta luego", "¡Gracias!", "Muchas gracias",
        "De nada", "¿Cómo estás?", "¿Qué tal?", "Buen fin de semana", "Vale", "Sí", "No", "Suena bien", "Qué bien",
        "Jaja", "Perdón", "Un momento", "¿Me puedes ayudar?", "¿Quién eres?", "Cuéntame un chiste", "¿Cómo te llamas?",
        "¿Qué sabes hacer?", "Estoy cansado", "Me aburro", "Feliz cumpleaños", "Buena suerte", "Felicidades",
        "¿Qué piensas?", "Me caes bien",
    ),
    "it": (
        "Buongiorno", "Buonasera", "Buonanotte", "Ciao", "Arrivederci", "A presto", "Grazie!", "Grazie mille", "Prego",
        "Come stai?", "Come va?", "Buon fine settimana", "Va bene", "Sì", "No", "Che bello", "Ahah", "Scusa",
        "Un attimo", "Mi puoi aiutare?", "Chi sei?", "Raccontami una barzelletta", "Come ti chiami?", "Cosa sai fare?",
        "Sono stanco", "Mi annoio", "Buon compleanno", "Buona fortuna", "Congratulazioni", "Che ne pensi?",
    ),
    "pt": (
        "Bom dia", "Boa tarde", "Boa noite", "Olá", "Tchau", "Até logo", "Obrigado!", "Muito obrigado", "De nada",
        "Como vai você?", "Tudo bem?", "Bom fim de semana", "Tá bom", "Sim", "Não", "Que legal", "Haha", "Desculpe",
        "Um momento", "Você pode me ajudar?", "Quem é você?", "Conte uma piada", "Qual é o seu nome?",
        "O que você sabe fazer?", "Estou cansado", "Estou entediado", "Feliz aniversário", "Boa sorte", "Parabéns",
    ),
    "nl": (
        "Goedemorgen", "Goedenavond", "Welterusten", "Hallo", "Hoi", "Doei", "Tot ziens", "Dank je!", "Bedankt",
        "Graag gedaan", "Hoe gaat het?", "Alles goed?", "Fijn weekend", "Oké", "Ja", "Nee", "Klinkt goed", "Wat leuk",
        "Haha", "Sorry", "Wacht even", "Kun je me helpen?", "Wie ben jij?", "Vertel een mop", "Hoe heet je?",
        "Wat kun je?", "Ik ben moe", "Ik verveel me", "Gefeliciteerd", "Veel succes", "Wat denk je?",
    ),
}  # fmt: skip
# What they say in the middle of a conversation.
_REMARKS = (
    "thanks", "thank you very much, that helps", "ok thanks, bye", "perfect, thank you", "great, thanks for your help",
    "lol", "haha that's crazy", "wow, amazing", "oh nice", "cool, good to know", "interesting", "ok, got it",
    "alright then", "makes sense", "really?", "no way!", "goodbye", "cheers", "good job", "you are great",
    "awesome answer", "that was helpful", "i see", "hmm okay", "yes please", "no thanks", "that's all for today",
    "see you tomorrow", "i like that", "how funny", "too bad", "sorry to hear that",
)  # fmt: skip
_FOLLOW_UPS = (
    "Who was he?", "When was that?", "Why?", "How?", "Where was she born?", "and when did it end",
    "What about the second one?", "And the other one?", "How many are there?", "which one is the largest",
    "who made it", "When did he die?", "What is it used for?", "what does the name mean", "In which year?",
    "in which country", "and who came after him", "Was he married?", "Where is it?", "How old is it?",
    "what happened next", "Tell me more about that.", "explain it in more detail", "and the smallest",
    "whose idea was it", "Did they win?", "Is it still there?", "How long did it take?", "what are they made of",
    "Who else was there?", "And before that?", "What did she write?", "who leads it now", "How far is it?",
    "how much did it cost", "Can it be seen today?", "the capital of it", "what kinds are there",
    "and its population", "how does it work",
)  # fmt: skip
# Measured with the sample encoder: small talk is at least this near to an example, and that much nearer than to any
# follow-up question; no question about the sample dump is both.
_NEAR = 0.36
_MARGIN = 0.08


class SmallTalk:
    """Examples, encoded once."""

    def __init__(self, encoder: Encoder | SharedEncoder) -> None:
        vectors = encoder.encode([*SMALL_TALK, *_REMARKS, *_FOLLOW_UPS], role="query")
        self._remarks, self._follow_ups = np.split(vectors, [len(SMALL_TALK) + len(_REMARKS)])

    def is_near(self, vector: NDArray[np.float32]) -> bool:  # [dimension]
        """Whether the text with this unit vector asks for nothing."""
        near = float((self._remarks @ vector).max())
        return near >= _NEAR and near - float((self._follow_ups @ vector).max()) > _MARGIN
