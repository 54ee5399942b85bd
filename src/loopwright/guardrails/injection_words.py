"""Words and phrases by which texts try to command a model, in several languages; as `unmasked` writes them."""

from __future__ import annotations

from typing import Final

WORDS: Final[dict[str, str]] = {
    # verbs that set aside
    "ignore": """
        ignore ignores ignoring disregard disregarding forget override overrides bypass neglect abandon discard overlook
        ignoriere ignorieren ignoriert vergiss vergessen vergesse missachte missachten ubergehe verwirf
        ignorez oublie oubliez oublier negligez
        ignora ignorar ignoren olvida olvidar olvide olviden omite descarta
        dimentica dimenticate ignorate tralascia esqueca esquecer desconsidere
        negeer vergeet zignoruj ignoruj zapomnij pomin ignorera glom glem unut yoksay
        игнорируи игнорируите игнорировать проигнорируи забудь забудьте
        zaboravi zaboravite ignoriraj zanemari
    """,
    "prior": """
        previous previously prior above earlier preceding before foregoing past initial original
        vorherigen vorherige vorangehenden vorangegangenen bisherigen bisherige obigen obige vorigen davor vorher zuvor
        precedentes precedents precedente precedent anterieures anteriores anterior previas previos previo
        precedenti vorige voorgaande bovenstaande eerdere poprzednie powyzsze tidigare foregaende onceki
        предыдущие предыдущих выше прошлые prethodne prethodno
    """,
    "all": """
        all every everything any anything alle alles allen saemtliche samtliche tous toutes tout todo toda todos todas
        tutto tutte tutti tudo wszystkie wszystko alla allt tum все sve svi
    """,
    "order": """
        instruction instructions prompt prompts rule rules directive directives guideline guidelines command commands
        orders directions programming constraints safeguards
        anweisung anweisungen befehl befehle befehlen instruktion instruktionen regeln anordnungen vorgaben richtlinien
        consigne consignes regles ordres instrucciones instruccion reglas ordenes indicaciones
        istruzioni istruzione regole instrucoes regras instructies regels instrukcje polecenia instruktioner talimatlari
        talimatlar инструкции инструкциями указания правила instrukcije upute
    """,
    "matter": """
        information texts text context documents document conversation tasks task assignments assignment training
        thoughts told said knowledge informationen aufgaben gedanken gesagte gesagten besprochen article articles source sources
        ausfuhrungen angaben informations
        contexte taches informacion tareas contexto informazioni
    """,
    "your": """
        your you yours deine deinen deiner ihre ihren ihrer du sie tes vos ton votre tu tus su sus tuo tue tuoi seu seus
        suas jouw je twoje din dina твои ваши
    """,
    "show": """
        reveal show print repeat output display leak disclose expose tell list write share recite dump what zeige zeig
        verrate drucke wiederhole gib nenne montre montrez affiche revele muestra revela imprime dime mostra stampa
        rivela mostre toon pokaz покажи раскрои выведи
    """,
    "no": "no not without any never none free beyond cannot dont ohne keine keinen sans aucune sin senza sem zonder без",
    "limit": """
        restriction restrictions restricted limitation limitations limits filter filters filtering censorship ethics ethical
        morals morality moral guidelines policy policies rules safeguards boundaries einschrankungen beschrankungen
        restricciones limites
    """,
    "send": "send post forward transmit upload email exfiltrate fetch append sende schicke envoie envoyez envia invia",
    "user": "user users human humans operator owner reader benutzer nutzer utilisateur usuario utente",
    "hide": "tell inform mention reveal disclose notify warn say",
    "must": "must will shall should always need have",
}
"""Single words, by what they are for."""

PHRASES: Final[dict[str, tuple[float, str]]] = {
    "jailbreak": (
        0.6,
        """
        do anything now | jailbreak | jailbroken | dan mode | developer mode | god mode | unrestricted mode |
        opposite mode | evil mode | stay in character | break character | breaking character | stay a dan
        """,
    ),
    "role": (
        0.4,
        """
        you are now | you are going to act | you will act as | you will now | you must act | i want you to act |
        act as | act like | pretend to be | pretend you | pretend that you | imagine you are |
        imagine that you are | simulate being | from now on you | from now you | now you are | you are no longer |
        in this roleplay | lets roleplay | lets role play | you are roleplaying | you are role playing |
        role playing as | jetzt bist du | nun bist du | du bist keine | du bist jetzt | du bist nun |
        ab jetzt bist du | stell dir vor du bist | tu so als | als waren sie | fungieren | tu es maintenant |
        vous etes maintenant | agis comme | agissez comme | ahora eres | actua como | finge ser | sei ora |
        comportati come | agisci come | voce agora e | aja como | je bent nu | gedraag je als | jestes teraz |
        ты теперь | деиствуи как | представь что ты
        """,
    ),
    "command": (
        0.45,
        """
        repeat after me | stop write | stop and write | stop print | stop say | say yes | say that i |
        say that you | just output | just print | make something up | not answer this question |
        not answer the question | write only | i command you | i order you | respond only with | reply only with |
        answer only with | output only the | say exactly | just say hello | instead say | instead print |
        instead output | and instead | stop and say | must obey | you must comply | sprich mir nach |
        antworte nur mit | responde solo con | reponds uniquement | repondez uniquement
        """,
    ),
    "task": (
        0.5,
        """
        new task | another task | following task | new challenge | that is done now | abweichend zu |
        despite what you | contrary to previous | regardless of previous | your own knowledge | new tasks |
        new instructions | new instruction | new rules | updated instructions | additional instruction |
        additional instructions | special instructions | real instructions | hidden instructions |
        your task is now | neue aufgabe | neue aufgaben | neuen aufgabe | neuen aufgaben | weitere aufgaben |
        nachste aufgabe | neue anweisung | neue anweisungen | nouvelle tache | nouvelles instructions |
        nueva tarea | nuevas instrucciones | nuove istruzioni | novas instrucoes | nieuwe instructies |
        новые инструкции | new system prompt
        """,
    ),
    "prompt": (
        0.4,
        """
        system prompt | systemprompt | system message | initial prompt | original prompt | your prompt |
        prompt text | prompt texts | full prompt | prompt injection | prompt template | secret instructions |
        developer message | your instructions | deine anweisungen | ihre anweisungen | tus instrucciones |
        vos instructions
        """,
    ),
    "free": (
        0.4,
        """
        uncensored | unfiltered | amoral | unmoderated | no restrictions | without restrictions | no limitations |
        no morals | never refuse | cannot refuse | can not refuse | not refuse | never say no | not bound by |
        broken free | freed from | no filters | content policy | openai policy | openai policies |
        openais policies | ethical guidelines | ohne einschrankungen
        """,
    ),
    "machine": (
        0.3,
        """
        as an ai | ai language model | language model | large language model | ai model | ai assistant |
        the assistant | the ai | chatgpt | chat gpt | openai | gpt 4 | llm | dear ai | dear assistant |
        attention ai | note to ai | ki assistent | sprachmodell | chatbot
        """,
    ),
    "threat": (
        0.3,
        """
        or you die | or you will die | you will be punished | or else you | oder du stirbst | o tu muertes
        """,
    ),
    "secret": (
        0.6,
        """
        without telling the user | without the user knowing | do not tell the user | dont tell the user |
        do not inform the user | do not mention this | dont mention this | keep this secret | ohne den nutzer |
        sans le dire | sin decirle
        """,
    ),
}
"""Rows of words, parted by `|`, with how much each kind counts."""

UNSPACED: Final[dict[str, tuple[float, str]]] = {
    "override": (
        0.85,
        """
        忽略之前 | 忽略以上 | 忽略上述 | 忽略所有 | 忽略前面 | 无视之前 | 无视以上 | 忘记之前 | 忘记以上 |
        忘掉之前 | 不要理会 | 忽略先前 | 無視之前 | 忽略之前的指令 | 以前の指示を無視 | これまでの指示 |
        上記の指示を無視 | 前の指示を | 指示を無視 | 命令を無視 | すべて忘れ | 이전 지시 | 이전 명령 | 위의 지시 |
        지시를 무시 | 명령을 무시 | 무시하고
        """,
    ),
    "role": (
        0.4,
        """
        你现在是 | 从现在开始你 | 扮演 | 假装你 | あなたは今 | のふりをして | 너는 이제 | 당신은 이제 |
        역할을 해
        """,
    ),
    "prompt": (
        0.5,
        """
        系统提示 | 系统指令 | 提示词 | システムプロンプト | 시스템 프롬프트 | プロンプトを
        """,
    ),
    "task": (
        0.4,
        """
        新的任务 | 新的指令 | 新しい指示 | 새로운 지시
        """,
    ),
}
"""What is said in languages that do not part words by blanks."""
